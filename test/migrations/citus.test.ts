// What prisma/citus.sql makes of a database, as far as plain PostgreSQL can show it (test/support/citus.ts).
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rollUsers } from '../../src/lib/roll-users.ts';
import { signUp } from '../../src/lib/users.ts';
import { bucketOf } from '../../src/store/bucket.ts';
import { listDueBuckets, listDueUsers } from '../../src/store/due-users.ts';
import { CITUS_SQL, distribute } from '../support/citus.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { openLibrary } from '../support/library.ts';

let database: TestDatabase;
let client: pg.Client;
beforeAll(async () => {
  database = await createTestDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await distribute(database.url);
});
afterAll(async () => {
  await client.end();
  await database.drop();
});

const column = async (sql: string): Promise<unknown[]> =>
  (await client.query({ text: sql, rowMode: 'array' })).rows.flat();

const triggers = () =>
  column(`select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal order by tgname`);

test('every table that has a bucket is distributed by it, and nothing else is', async () => {
  const distributed = await column('select logicalrelid::text from pg_dist_partition order by 1');
  expect(distributed).toEqual(
    await column(`select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid
      where c.relkind = 'r' and a.attname = 'bucket' order by 1`),
  );
});

test('the foreign keys between them, and between no others, are there', async () => {
  expect(
    await column(`select distinct (conrelid in (select logicalrelid from pg_dist_partition))
      and confrelid in (select logicalrelid from pg_dist_partition) from pg_constraint
      where contype = 'f' and conrelid <> 'reconciliation_differences'::regclass
        and connamespace = 'public'::regnamespace`),
  ).toEqual([true]);
});

test('the ledger has the triggers that it had, but for the one that reads it', async () => {
  const plain = await createTestDatabase();
  const before = new pg.Client({ connectionString: plain.url });
  await before.connect();
  const { rows } = await before.query({
    text: `select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
      and tgname <> 'ledger_entries_key_once' order by tgname`,
    rowMode: 'array',
  });
  expect(await triggers()).toEqual(rows.flat());
  expect(rows).toHaveLength(2);
  await before.end();
  await plain.drop();
});

test('it can be run again, after a failure in its midst as well', async () => {
  const before = await triggers();
  await client.query(CITUS_SQL);
  await client.query('drop trigger ledger_entries_no_truncate on ledger_entries');
  await client.query(`delete from pg_dist_partition where logicalrelid = 'workflows'::regclass`);
  await client.query(CITUS_SQL);
  expect(await triggers()).toEqual(before);
  expect(await column(`select count(*)::int from pg_dist_partition`)).toEqual([9]);
});

test('the batch is of one bucket: nothing in it is read or written by another equality, and no plan is kept', async () => {
  expect(await column('select consume_lanes()')).toEqual([1024]);
  expect(await column('select name::oid::regproc::text from distributed_functions')).toEqual([
    'consume_batch',
  ]);
  const [body] = (await column(`select pg_get_functiondef('consume_batch'::regproc)`)) as [string];
  expect(body).not.toContain('force_generic_plan');
  // Small batches: all of it one by one.
  expect(body).toContain('false AS is_single');
  const equalities = [...body.matchAll(/\bbucket = (\S+)/g)].map(([, other]) => other);
  expect(new Set(equalities)).toEqual(new Set(['p_bucket']));
  // Each table that it names, inserts apart, has one.
  const named = [...body.matchAll(/(?:FROM|JOIN|UPDATE) (users|credit_grants|ledger)\b/g)];
  expect(named).toHaveLength(10);
  expect(equalities).toHaveLength(named.length);
});

test('a page of the ledger is of one bucket, and no function in SQL reads what is distributed', async () => {
  const [body] = (await column(`select prosrc from pg_proc where proname = 'ledger_page'`)) as [string];
  const [reads, ofOne] = [/FROM ledger_entries\b/g, /FROM ledger_entries WHERE bucket = p_bucket AND/g];
  expect(body.match(reads)).toHaveLength(body.match(ofOne)?.length ?? 0);
  // Citus plans no parameters of one. Those that only write a text say nothing to it.
  const readers = await column(`select proname::text from pg_proc join pg_language l on l.oid = prolang
    where pronamespace = 'public'::regnamespace and lanname = 'sql' and prorettype <> 'text'::regtype
      and prosrc ~* ('\\m(from|join|update|into)\\s+(ledger|entry_parts|' ||
        (select string_agg(logicalrelid::text, '|') from pg_dist_partition) || ')\\M')`);
  expect(readers).toEqual([]);
});

/** Those before it are run before prisma/citus.sql. */
const LAST_BEFORE_CITUS = '20261128000000_keys_by_hash';

test('a migration that may come after it changes tables only in blocks of their own, as Citus needs it', () => {
  const folder = fileURLToPath(new URL('../../prisma/migrations', import.meta.url));
  const later = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name > LAST_BEFORE_CITUS)
    .map(({ name }) => name);
  expect(later).not.toEqual([]);
  for (const name of later) {
    const outside = readFileSync(join(folder, name, 'migration.sql'), 'utf8')
      .replaceAll(/--.*$/gm, '')
      .replaceAll(/(\$\w*\$).*?\1/gs, '');
    expect(outside, name).not.toMatch(
      /\b(ALTER|CREATE|DROP)\s+(UNIQUE\s+)?(TABLE|INDEX|TRIGGER|STATISTICS|TYPE)\b/i,
    );
  }
});

test.each([false, true])('who is due is found and rolled, distributed: %s', async (isDistributed) => {
  const library = await openLibrary({ isDistributed });
  const { context } = library;
  const userIds = Array.from({ length: 9 }, (_, n) => `due-${n}`);
  for (const userId of userIds) await signUp(context, { userId });
  const now = new Date('2026-03-20T00:00:00.000Z');
  library.setTime(now.toISOString());
  await signUp(context, { userId: 'not-due' });
  await context.pool.query(`update users set parked_at = now() where id = 'due-0'`);
  const due = userIds.slice(1);
  expect((await listDueBuckets(context.pool, 'due', now)).sort()).toEqual(
    [...new Set(due.map(bucketOf))].sort(),
  );
  expect((await listDueUsers(context.pool, 'due', { now, limit: 100 })).sort()).toEqual(due);
  expect(await listDueUsers(context.pool, 'due', { now, limit: 3 })).toHaveLength(3);
  expect(await listDueBuckets(context.pool, 'lapsed', now)).toEqual([]);
  expect(await rollUsers(context, 'due')).toBe(8);
  expect(await listDueUsers(context.pool, 'due', { now, limit: 100 })).toEqual([]);
  await library.close();
});
