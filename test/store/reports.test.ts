// What reads everybody takes a time that grows with their number, and not with its square: no statement of it compares each
// user with each. Seen on the rows that PostgreSQL really handled, by its own count.
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { consume } from '../../src/lib/credits.ts';
import { readUsageMetrics } from '../../src/lib/usage-metrics.ts';
import { signUp } from '../../src/lib/users.ts';
import { readBooks } from '../../src/store/close.ts';
import { findViolations } from '../../src/store/invariants.ts';
import { type Library, openLibrary } from '../support/library.ts';
import { request } from '../support/request.ts';
import { queriesDuring, readsOrWrites, rowsHandled } from '../support/statements.ts';

const USERS = 400;
/** Of all nodes of a plan. Each compared with each would be several times as many as there are users. */
const ROWS_PER_USER_MAX = 60;

const MONTH = {
  start: new Date('2026-01-01T00:00:00.000Z'),
  end: new Date('2026-02-01T00:00:00.000Z'),
};

let library: Library;
beforeAll(async () => {
  library = await openLibrary();
  const userIds = Array.from({ length: USERS }, (_, n) => `user-${n}`);
  await Promise.all(userIds.map((userId) => signUp(library.context, { userId })));
  await Promise.all(
    userIds.map((userId) => consume(library.context, { userId, tokens: 5 }, request(userId))),
  );
  library.setTime(MONTH.end.toISOString());
  await library.context.pool.query('analyze');
});
afterAll(() => library.close());

test.each([
  ['the check of every ledger', () => findViolations(library.context.pool)],
  ['the finance month', () => readBooks(library.context.pool, MONTH)],
  ['the usage metrics', () => readUsageMetrics(library.context, { from: MONTH.start, to: MONTH.end })],
])('%s handles a bounded number of rows for each user', async (_, read) => {
  const sent = await queriesDuring(read);
  const client = new pg.Client({ connectionString: library.context.config.databaseUrl });
  await client.connect();
  // As it was sent, with the settings of its transaction.
  for (const statement of sent) {
    if (!readsOrWrites(statement.text)) await client.query(statement.text);
    else expect(await rowsHandled(client, statement), statement.text).toBeLessThan(USERS * ROWS_PER_USER_MAX);
  }
  await client.end();
  expect(sent.length).toBeGreaterThan(4);
});
