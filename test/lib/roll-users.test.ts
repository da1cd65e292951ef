// What falls due for many users at once, in chunks that share a commit.
import fc from 'fast-check';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { addDays, addMonths } from '../../src/domain/period.ts';
import { accountOptions } from '../../src/lib/requests.ts';
import { rollUsers } from '../../src/lib/roll-users.ts';
import { readUsage, signUp } from '../../src/lib/users.ts';
import { withAccount } from '../../src/store/account.ts';
import { bucketOf } from '../../src/store/bucket.ts';
import { listDueBuckets, listDueUsers } from '../../src/store/due-users.ts';
import { findViolations } from '../../src/store/invariants.ts';
import { type Library, openLibrary, START } from '../support/library.ts';
import { ALL_BORN_BY, idsOfBucket, live, type Past, pasts, plainPasts } from '../support/population.ts';
import { rowsOf } from '../support/rows.ts';
import { announceSeed } from '../support/seed.ts';

const BUCKET = 7;
const NEXT_MONTH = addMonths(new Date(START), 1).toISOString();

let library: Library;
let isDistributed: boolean;
afterEach(() => library.close());

/** Those of one chunk: on one PostgreSQL of any buckets. */
const idsOf = (prefix: string, count: number): string[] =>
  isDistributed
    ? idsOfBucket(prefix, BUCKET, count)
    : Array.from({ length: count }, (_, n) => `${prefix}-${n}`);

async function freeUsers(prefix: string, count: number): Promise<string[]> {
  const ids = idsOf(prefix, count);
  for (const userId of ids) await signUp(library.context, { userId });
  return ids;
}

const grantsOf = async (userIds: readonly string[]): Promise<Record<string, number>> => {
  const { rows } = await library.context.pool.query<{ id: string; count: number }>(
    'select user_id as id, count(*) as count from credit_grants where user_id = any($1) group by 1 order by 1',
    [userIds],
  );
  return Object.fromEntries(rows.map(({ id, count }) => [id, count]));
};

const each = (userIds: readonly string[], count: number): Record<string, number> =>
  Object.fromEntries(userIds.map((id) => [id, count]));

describe.each([
  ['on one PostgreSQL', false],
  ['where each bucket is by itself', true],
])('%s', (_where, isSplit) => {
  beforeEach(async () => {
    isDistributed = isSplit;
    library = await openLibrary({ isDistributed });
  });

  test('a chunk writes row for row what its users rolled one by one write', async () => {
    let round = 0;
    const said: string[] = [];
    const log = pino({ level: 'warn' }, { write: (line) => said.push(line) });
    const property = async (population: Past[], days: number): Promise<void> => {
      const { pool } = library.context;
      const now = addDays(ALL_BORN_BY, days);
      const context = { ...library.with({ now: () => now }), log };
      const names = [`alone-${round}`, `chunk-${round++}`] as const;
      const [alone = [], chunk = []] = names.map((name) => idsOf(name, population.length));
      for (const [n, past] of population.entries()) {
        await live(library, alone[n] ?? '', past);
        await live(library, chunk[n] ?? '', past);
      }
      const due = await listDueUsers(pool, 'due', { now, limit: 1_000 });
      const first = alone.filter((id) => due.includes(id));
      for (const userId of first) await withAccount(accountOptions(context), userId, () => undefined);
      // With them those of earlier rounds.
      expect(await rollUsers(context, 'due')).toBe(due.length - first.length);
      for (const [n, past] of population.entries()) {
        const words = JSON.stringify(past);
        expect(await rowsOf(pool, chunk[n] ?? ''), words).toEqual(await rowsOf(pool, alone[n] ?? ''));
      }
      expect(await rollUsers(context, 'due')).toBe(0);
      // No chunk had to be done again user by user.
      expect(said).toEqual([]);
    };
    const population = fc.array(fc.oneof(pasts, plainPasts), { minLength: 2, maxLength: 12 });
    await fc.assert(fc.asyncProperty(population, fc.integer({ min: 0, max: 130 }), property), {
      seed: announceSeed('bulk against one by one'),
      numRuns: 8,
      endOnFailure: true,
    });
    expect(await findViolations(library.context.pool)).toEqual([]);
  }, 120_000);

  test('more users than fit a chunk are all rolled, once', async () => {
    const ids = await freeUsers('many', 450);
    library.setTime(NEXT_MONTH);
    expect(await rollUsers(library.context, 'due')).toBe(450);
    expect(await grantsOf(ids)).toEqual(each(ids, 2));
    expect(await rollUsers(library.context, 'due')).toBe(0);
    expect(await listDueBuckets(library.context.pool, 'due', new Date(NEXT_MONTH))).toEqual([]);
    expect(await findViolations(library.context.pool)).toEqual([]);
  }, 60_000);

  test('a user that cannot be rolled stops nobody of its chunk, and is named', async () => {
    const ids = await freeUsers('one-bad', 30);
    const bad = ids[11]!;
    // Somebody has written its next allowance by hand.
    await library.context.pool.query(
      `insert into credit_grants (bucket, id, user_id, key, source, amount_tokens, remaining_tokens, effective_at, closed_at, created_at)
     values ($1, 'gr_by_hand', $2, $3, 'bonus', 1, 0, $4, $4, $4)`,
      [bucketOf(bad), bad, `allowance:free:${bad}:${NEXT_MONTH}`, START],
    );
    library.setTime(NEXT_MONTH);
    const alerts: unknown[] = [];
    const write = (line: string): void => {
      const { alert, userId } = JSON.parse(line);
      if (alert) alerts.push({ alert, userId });
    };
    const log = pino({ level: 'warn' }, { write });
    expect(await rollUsers({ ...library.context, log }, 'due')).toBe(29);
    expect(alerts).toEqual([{ alert: 'roll_failed', userId: bad }]);
    expect(await grantsOf(ids)).toEqual(each(ids, 2));
    expect(await readUsage(library.context, ids[12]!)).toMatchObject({ availableTokens: 10_000 });
    expect(await listDueUsers(library.context.pool, 'due', { now: new Date(NEXT_MONTH), limit: 9 })).toEqual([
      bad,
    ]);
  }, 60_000);

  test('a user that is locked is passed over, and taken when the others are done', async () => {
    const ids = await freeUsers('locked', 20);
    const { pool } = library.context;
    library.setTime(NEXT_MONTH);
    const other = await pool.connect();
    await other.query('begin');
    await other.query('select 1 from users where id = $1 for no key update', [ids[0]]);
    const rolling = rollUsers(library.context, 'due');
    await vi.waitFor(async () =>
      expect(await listDueUsers(pool, 'due', { now: new Date(NEXT_MONTH), limit: 99 })).toEqual([ids[0]]),
    );
    await other.query('commit');
    other.release();
    expect(await rolling).toBe(20);
    expect(await grantsOf(ids)).toEqual(each(ids, 2));
  }, 60_000);
});
