// The reset of many at once beside everything else that touches them: who comes first may vary, each window's allowance
// lands once.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addMonths } from '../../src/domain/period.ts';
import { TollgateError } from '../../src/errors.ts';
import { captureHold, placeHold } from '../../src/lib/holds.ts';
import { rollUsers } from '../../src/lib/roll-users.ts';
import { readUsage, signUp } from '../../src/lib/users.ts';
import { findViolations } from '../../src/store/invariants.ts';
import { listEntries } from '../../src/store/ledger.ts';
import { inBatch } from '../support/doors.ts';
import { type Library, openLibrary, START } from '../support/library.ts';
import { idsOfBucket } from '../support/population.ts';
import { request } from '../support/request.ts';

const BUCKETS = [3, 4];
const USERS_PER_BUCKET = 40;
const MONTHS = 2;
const CREDIT = 2_000;

let library: Library;
beforeAll(async () => {
  library = await openLibrary({ maxConnections: 20 });
});
afterAll(() => library.close());

const unlessRefused = (error: unknown): undefined => {
  if (error instanceof TollgateError && error.code === 'insufficient_credits') return undefined;
  throw error;
};

/** Consumes and captures of one user, one after the other. @returns credits taken */
async function use(userId: string, round: string): Promise<number> {
  const { context } = library;
  let credits = 0;
  for (let n = 0; n < 2; n++) {
    const taken = await inBatch(context, { userId }, request(`take-${round}-${n}`)).catch(unlessRefused);
    if (taken) credits++;
    const hold = await placeHold(context, { userId, credits: 1 }, request(`hold-${round}-${n}`)).catch(
      unlessRefused,
    );
    if (!hold) continue;
    await captureHold(context, { holdId: String(hold.body.holdId) }, request(`capture-${round}-${n}`));
    credits++;
  }
  return credits;
}

test('two resets of all users at once, beside consumes and holds, land each window’s allowance exactly once', async () => {
  const ids = BUCKETS.flatMap((bucket) => idsOfBucket('reset', bucket, USERS_PER_BUCKET));
  for (const userId of ids) await signUp(library.context, { userId });
  const taken = new Map(ids.map((id) => [id, 0]));
  let rolledByJobs = 0;
  for (let month = 1; month <= MONTHS; month++) {
    library.setTime(addMonths(new Date(START), month).toISOString());
    // Half of them are in use while it goes on.
    const inUse = ids.filter((_, n) => n % 2 === month % 2);
    const [first, second, ...used] = await Promise.all([
      rollUsers(library.context, 'due'),
      rollUsers(library.context, 'due'),
      ...inUse.map((userId) => use(userId, String(month))),
    ]);
    rolledByJobs += first + second;
    inUse.forEach((userId, n) => {
      taken.set(userId, (taken.get(userId) ?? 0) + (used[n] ?? 0));
    });
  }
  for (const userId of ids) {
    const entries = await listEntries(library.context.pool, userId, { beforeSeq: 1_000, limit: 100 });
    const granted = entries.filter(({ type }) => type === 'granted').map(({ key }) => key);
    expect(new Set(granted).size).toBe(granted.length);
    expect(granted).toHaveLength(1 + MONTHS);
    const credits = taken.get(userId) ?? 0;
    expect(await readUsage(library.context, userId)).toMatchObject({
      totalTokensUsed: credits * CREDIT,
      heldTokens: 0,
    });
  }
  // The jobs had the other half for themselves.
  expect(rolledByJobs).toBeGreaterThanOrEqual((ids.length / 2) * MONTHS);
  expect(await findViolations(library.context.pool)).toEqual([]);
  const { rows } = await library.context.pool.query(
    'select deadlocks from pg_stat_database where datname = current_database()',
  );
  expect(rows).toEqual([{ deadlocks: 0 }]);
}, 60_000);
