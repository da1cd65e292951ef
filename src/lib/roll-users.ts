/** What is due for many users, whom nobody has touched. */
import type { Context } from '../context.ts';
import { withAccount } from '../store/account.ts';
import type { listDueUsers } from '../store/users.ts';
import { accountOptions } from './requests.ts';

const PAGE = 200;

/**
 * Applies what is due, user by user: a short transaction each, so that nobody waits for a page and one bad user stops
 * nobody. A user that fails is passed over until the next run.
 * @returns how many were rolled
 */
export async function rollUsers(context: Context, list: typeof listDueUsers): Promise<number> {
  const failed = new Set<string>();
  let rolled = 0;
  for (;;) {
    const now = context.clock.now();
    // The failed ones stay due, at the head of the list.
    const due = await list(context.pool, { now, limit: PAGE + failed.size });
    const page = due.filter((userId) => !failed.has(userId));
    for (const userId of page) {
      try {
        await withAccount({ ...accountOptions(context), now }, userId, () => undefined);
        rolled += 1;
      } catch (error) {
        failed.add(userId);
        context.log.error({ err: error, userId, alert: 'roll_failed' }, 'A user could not be rolled forward');
      }
    }
    if (page.length === 0 || due.length < PAGE) return rolled;
  }
}
