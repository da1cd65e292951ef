/** What is due for many users, whom nobody has touched. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Context } from '../context.ts';
import { ChunkFailedError, rollChunk, withAccount } from '../store/account.ts';
import { type DueKind, listDueBuckets, listDueUsers } from '../store/due-users.ts';
import { accountOptions } from './requests.ts';

/**
 * Users that share a commit. With 200, and two chunks at once, a fifth more were rolled a second, and the p99 of consumes
 * beside them was ten times that of an idle service.
 */
const CHUNK = 50;
/** Of the time that a chunk took, how long the others have the database to themselves before the next. */
const PAUSE_SHARE = 0.1;

/**
 * Applies what is due, chunk by chunk, each with a commit of its own. One bad user stops nobody: a chunk that fails is
 * done user by user. A user that fails is passed over until the next run.
 * @returns how many were rolled
 */
export async function rollUsers(context: Context, kind: DueKind): Promise<number> {
  const failed = new Set<string>();
  let rolled = 0;
  for (const bucket of await listDueBuckets(context.pool, kind, context.clock.now())) {
    rolled += await rollBucket(context, { kind, bucket }, failed);
  }
  return rolled + (await rollPassedOver(context, kind, failed));
}

async function rollBucket(
  context: Context,
  { kind, bucket }: { kind: DueKind; bucket: number },
  failed: Set<string>,
): Promise<number> {
  let rolled = 0;
  for (;;) {
    const startMs = performance.now();
    const chunk = { kind, bucket, limit: CHUNK, except: [...failed] };
    let count: number;
    try {
      count = await rollChunk(accountOptions(context), chunk);
      rolled += count;
    } catch (error) {
      if (!(error instanceof ChunkFailedError)) throw error;
      const { userIds, cause } = error;
      context.log.warn({ err: cause, bucket, users: userIds.length }, 'A chunk is rolled user by user');
      rolled += await rollAlone(context, userIds, failed);
      count = userIds.length;
    }
    await delay((performance.now() - startMs) * PAUSE_SHARE);
    if (count < CHUNK) return rolled;
  }
}

/** Who is left beyond these is taken by the next run. */
const PASSED_OVER_MAX = 200;

/** Those whose rows were locked when their chunk came by. */
async function rollPassedOver(context: Context, kind: DueKind, failed: Set<string>): Promise<number> {
  const page = { now: context.clock.now(), limit: PASSED_OVER_MAX + failed.size };
  const left = await listDueUsers(context.pool, kind, page);
  return rollAlone(
    context,
    left.filter((userId) => !failed.has(userId)),
    failed,
  );
}

async function rollAlone(context: Context, userIds: readonly string[], failed: Set<string>): Promise<number> {
  let rolled = 0;
  for (const userId of userIds) {
    try {
      await withAccount(accountOptions(context), userId, () => undefined);
      rolled += 1;
    } catch (error) {
      failed.add(userId);
      context.log.error({ err: error, userId, alert: 'roll_failed' }, 'A user could not be rolled forward');
    }
  }
  return rolled;
}
