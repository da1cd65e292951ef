// A key is found by itself, however many entries its user has: an index that is right but not used makes one busy user
// slower with every consume.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { consume } from '../../src/lib/credits.ts';
import { signUp } from '../../src/lib/users.ts';
import { findEntryByKey, listEntries } from '../../src/store/ledger.ts';
import { rotateLedger } from '../../src/store/ledger-rotation.ts';
import { findConsumptions, findEntriesByKey } from '../../src/store/ledger-sets.ts';
import { inTransaction } from '../../src/store/transaction.ts';
import { type Library, openLibrary } from '../support/library.ts';
import { request } from '../support/request.ts';

const OTHERS = 40;
const ENTRIES_OF_OTHERS = 10;
const ENTRIES = 400;

let library: Library;
beforeAll(async () => {
  library = await openLibrary();
});
afterAll(() => library.close());

const spend = (userId: string, key: string) => consume(library.context, { userId, tokens: 1 }, request(key));

/** Of the busy user: by its key, and the consumption at a place of its ledger. */
async function findAmongOthers(key: string, seq: number): Promise<void> {
  const { pool } = library.context;
  const [byKey, bySeq] = await inTransaction(pool, async (tx) => [
    await findEntriesByKey(tx, null, [{ userId: 'busy', row: { key } }]),
    await findConsumptions(tx, null, [{ userId: 'busy', row: { seq } }]),
  ]);
  expect([byKey?.length, bySeq?.length]).toEqual([1, 1]);
}

/** Entries of ledgers that statements have read by an index so far. */
async function entriesRead(): Promise<number> {
  const { pool } = library.context;
  // Each session tells its counters when it is idle, or when it is asked to.
  const sessions = await Promise.all(Array.from({ length: pool.options.max ?? 10 }, () => pool.connect()));
  for (const session of sessions) await session.query('select pg_stat_force_next_flush()');
  for (const session of sessions) session.release();
  const { rows } = await pool.query<{ read: number }>(
    `select sum(idx_tup_read) as read from pg_stat_user_indexes where relname = 'ledger_entries'`,
  );
  return Number(rows[0]?.read);
}

it('reads no more of a ledger with many entries than of one with few, in a batch, alone and among others', async () => {
  const { pool } = library.context;
  const others = Array.from({ length: OTHERS }, (_, n) => `other-${n}`);
  for (const userId of ['busy', ...others]) await signUp(library.context, { userId });
  for (const userId of others) {
    await Promise.all(Array.from({ length: ENTRIES_OF_OTHERS }, (_, n) => spend(userId, `key-${n}`)));
  }
  // What the planner then knows is that a user has a few entries.
  await pool.query('analyze');
  for (let n = 0; n < ENTRIES; n++) await spend('busy', `key-${n}`);
  const before = await entriesRead();
  for (let n = 0; n < 10; n++) {
    await spend('busy', `new-${n}`);
    await findEntryByKey(pool, 'busy', `consume:new-${n}`);
    await findAmongOthers(`consume:new-${n}`, n + 2);
  }
  expect((await entriesRead()) - before).toBeLessThan(100);
});

it.each([
  ['newest', '2026-01-31T12:00:00.000Z'],
  ['oldest', '2026-03-20T12:00:00.000Z'],
])(
  'the same where they are in the %s of several parts, and of a page no more than it shows',
  async (part, now) => {
    const { context } = library;
    const rotation = await rotateLedger(context.config.databaseUrl, new Date(now));
    expect(rotation?.boundaries).toHaveLength(2);
    const before = await entriesRead();
    for (let n = 0; n < 10; n++) {
      await spend('busy', `${part}-${n}`);
      await spend('busy', `key-${n}`);
      await findEntryByKey(context.pool, 'busy', `consume:${part}-${n}`);
      await findAmongOthers(`consume:${part}-${n}`, n + 2);
      await listEntries(context.pool, 'busy', { beforeSeq: 300, limit: 3 });
    }
    expect((await entriesRead()) - before).toBeLessThan(100);
  },
);

it('tells apart users and keys whose words run together', async () => {
  const { pool } = library.context;
  for (const id of ['a', 'ab']) await signUp(library.context, { userId: id });
  const keyOf = async (id: string, key: string) => (await findEntryByKey(pool, id, key))?.key;
  expect([await keyOf('a', 'signup:a'), await keyOf('ab', 'signup:ab')]).toEqual(['signup:a', 'signup:ab']);
  expect([await keyOf('a', 'bsignup:ab'), await keyOf('ab', 'signup:a')]).toEqual([undefined, undefined]);
});
