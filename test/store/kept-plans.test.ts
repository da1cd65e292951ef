// PostgreSQL keeps the plan of a prepared statement, which it may have made while the tables were empty and a whole bucket
// as good as a row. It makes another one once it has taken statistics (of a table that grows by a tenth it does so within a
// minute), and that one must not read what others have, nor must the statement be planned for each call ever after.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { grantCredits } from '../../src/lib/grants.ts';
import { readUsage, signUp } from '../../src/lib/users.ts';
import { bucketOf } from '../../src/store/bucket.ts';
import { findViolationsOf } from '../../src/store/invariants.ts';
import { bothDoors, type Doors } from '../support/doors.ts';
import { type Library, openLibrary } from '../support/library.ts';
import { request } from '../support/request.ts';

/** With five calls PostgreSQL has made up its mind. */
const ROUNDS = 8;
const OTHERS = 500;
const USER = 'busy';
const TABLES = ['users', 'credit_grants', 'holds', 'ledger_entries', 'idempotency_records'];

let library: Library;
beforeEach(async () => {
  // One session, so that all rounds are planned by it.
  library = await openLibrary({ maxConnections: 1 });
  const { pool } = library.context;
  // Statistics taken meanwhile would have the plans made anew.
  for (const table of TABLES) await pool.query(`alter table ${table} set (autovacuum_enabled = false)`);
  await signUp(library.context, { userId: USER });
});
afterEach(() => library.close());

let keys = 0;
const next = () => request(`key-${keys++}`);

/** Each statement of a change at the door, by a user alone and as one of several. */
async function round(doors: Doors): Promise<void> {
  const { context } = library;
  const grant = { userId: USER, tokens: 9_000, source: 'bonus', reason: 'test' } as const;
  await grantCredits(context, grant, next());
  const { body } = await doors.consume(context, { userId: USER, tokens: 5_000 }, next());
  await doors.refund(context, { entryId: String(body.entryId), tokens: 1_000, reason: 'test' }, next());
  const [captured, released] = [
    await doors.placeHold(context, { userId: USER, tokens: 2_000 }, next()),
    await doors.placeHold(context, { userId: USER, tokens: 1_000 }, next()),
  ];
  await doors.captureHold(context, { holdId: String(captured.body.holdId), tokens: 1_500 }, next());
  await doors.releaseHold(context, String(released.body.holdId), next());
  await readUsage(context, USER);
  expect(await findViolationsOf(context.pool, USER)).toEqual([]);
}

/** Rows of those tables, or of their indexes, that statements have read so far. */
async function rowsRead(): Promise<number> {
  const { pool } = library.context;
  await pool.query('select pg_stat_force_next_flush()');
  const { rows } = await pool.query<{ read: number }>(
    `select (select sum(seq_tup_read) from pg_stat_user_tables where relname = any($1))
       + (select sum(idx_tup_read) from pg_stat_user_indexes where relname = any($1)) as read`,
    [TABLES],
  );
  return Number(rows[0]?.read);
}

async function readIn(doors: Doors): Promise<number> {
  const before = await rowsRead();
  await round(doors);
  return (await rowsRead()) - before;
}

/** Puts others into the user's bucket, with as many rows of their own. */
async function crowd(): Promise<void> {
  const { pool } = library.context;
  for (const table of TABLES) {
    const { rows } = await pool.query<{ column: string }>(
      `select column_name as column from information_schema.columns where table_name = $1 and is_generated = 'NEVER'`,
      [table],
    );
    const columns = rows.map(({ column }) => column);
    const values = columns.map((column) =>
      ['id', 'user_id'].includes(column) ? `${column} || '-' || n` : column,
    );
    await pool.query(
      `insert into ${table} (${columns}) select ${values} from ${table}, generate_series(1, ${OTHERS}) n
       where bucket = $1 and ${table === 'users' ? 'id' : 'user_id'} = $2`,
      [bucketOf(USER), USER],
    );
  }
}

/** Statements over users of all buckets that were planned for each call so far. Those of one bucket are Citus's matter. */
async function plannedEachTime(): Promise<string[]> {
  const { rows } = await library.context.pool.query<{ name: string }>(
    `select name from pg_prepared_statements where custom_plans > ${ROUNDS} - 2 and name not like '%of_one' order by name`,
  );
  return rows.map(({ name }) => name);
}

it.each(bothDoors)('a plan kept of a small database reads no more in a large one, %s', async (_, doors) => {
  for (let n = 0; n < ROUNDS; n++) await round(doors);
  expect(await plannedEachTime()).toEqual([]);
  const small = await readIn(doors);
  await crowd();
  await library.context.pool.query('analyze');
  expect((await readIn(doors)) - small).toBeLessThan(OTHERS / 4);
});
