// Accounts of several users in one transaction: of all buckets where there is one PostgreSQL, of one bucket otherwise.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Account } from '../../src/domain/account.ts';
import { roll } from '../../src/domain/roll.ts';
import { accountOptions } from '../../src/lib/requests.ts';
import { signUp } from '../../src/lib/users.ts';
import { withAccount } from '../../src/store/account.ts';
import { loadAccounts, lockUsers } from '../../src/store/account-load.ts';
import { saveAccounts } from '../../src/store/account-save.ts';
import { bucketOf } from '../../src/store/bucket.ts';
import type { Transaction } from '../../src/store/database.ts';
import { findViolations } from '../../src/store/invariants.ts';
import type { Lane } from '../../src/store/lanes.ts';
import { inTransaction } from '../../src/store/transaction.ts';
import { type Library, openLibrary } from '../support/library.ts';
import { idsOfBucket } from '../support/population.ts';
import { rowsOf } from '../support/rows.ts';

const BUCKET = 7;
/** Quotes and backslashes mean something in the text of an array. */
const ODD_REASON = 'a, {reason} "in" \\words';
const ODD_METADATA = { said: 'a "b" \\ {c}, NULL', nested: { n: [1, null] } };
const REQUEST_HASH = Buffer.from('00ff22', 'hex');

let library: Library;
beforeEach(async () => {
  library = await openLibrary();
});
afterEach(() => library.close());

async function signUpAll(userIds: readonly string[]): Promise<void> {
  for (const userId of userIds) await signUp(library.context, { userId });
}

const idsOf = (prefix: string, lane: Lane, count: number): string[] =>
  lane === null
    ? Array.from({ length: count }, (_, n) => `${prefix}-${n}`)
    : idsOfBucket(prefix, lane, count);

/** Each gets an entry of every form: no part, one, several; and a hold. */
function change(account: Account, n: number): void {
  const details = { reason: ODD_REASON, costBasisMinor: 99, currency: 'usd' };
  const grant = { key: 'bonus', source: 'bonus' as const, tokens: 100 + n, expiresAt: null, details };
  account.grant(grant);
  account.consume(10_050, { key: 'consume:1', metadata: ODD_METADATA, requestHash: REQUEST_HASH });
  account.append('refunded', 0, [], { key: 'refund:1', reason: null });
  if (n % 2 === 0) return;
  const parts = account.burn(20);
  const { now } = account;
  for (const { grantId, tokens } of parts) account.grantOf(grantId).heldTokens += tokens;
  account.user.heldTokens += 20;
  const hold = {
    ...{
      id: account.newGrantId().replace('gr', 'hold'),
      key: 'hold:1',
      tokens: 20,
      parts,
      status: 'open' as const,
    },
    ...{
      feature: 'a feature',
      metadata: ODD_METADATA,
      capturedTokens: null,
      settledAt: null,
      createdAt: now,
    },
    expiresAt: new Date(now.getTime() + 60_000),
  };
  account.holds.set(hold.id, hold);
  account.changedHolds.add(hold);
  roll(account, [], now);
}

async function changeTogether(tx: Transaction, lane: Lane, userIds: readonly string[]): Promise<void> {
  const now = library.context.clock.now();
  const users = await lockUsers(tx, lane, userIds);
  const loaded = await loadAccounts(tx, lane, users, { catalogue: library.context.catalogue, now });
  expect(loaded.map(({ row }) => row.id).sort()).toEqual([...userIds].sort());
  for (const one of loaded) change(one.account, userIds.indexOf(one.row.id));
  await saveAccounts(tx, lane, loaded, now);
}

describe.each<[of: string, Lane]>([
  ['all buckets', null],
  ['one bucket', BUCKET],
])('users of %s together', (_of, lane) => {
  it('become row for row what each becomes alone', async () => {
    const { context } = library;
    const together = idsOf('together', lane, 7);
    const alone = idsOf('alone', lane, 7);
    await signUpAll([...together, ...alone]);
    await inTransaction(context.pool, (tx) => changeTogether(tx, lane, together));
    for (const [n, userId] of alone.entries()) {
      const options = accountOptions(context);
      await withAccount(options, userId, (account) => change(account, n));
    }
    for (const [n, userId] of together.entries()) {
      expect(await rowsOf(context.pool, userId)).toEqual(await rowsOf(context.pool, alone[n] ?? ''));
    }
    const { rows } = await context.pool.query(
      `select metadata, request_hash from ledger_entries where key = 'consume:1' and user_id = any($1)`,
      [together],
    );
    const written = { metadata: ODD_METADATA, request_hash: REQUEST_HASH };
    expect(rows).toEqual(together.map(() => written));
    const { rows: grants } = await context.pool.query(
      `select distinct reason from credit_grants where key = 'bonus'`,
    );
    expect(grants).toEqual([{ reason: ODD_REASON }]);
    expect(await findViolations(context.pool)).toEqual([]);
  });

  it('are locked in the order of buckets and ids, but for unknown ones and those that are locked already', async () => {
    const { pool } = library.context;
    const ids = idsOf('locked', lane, 9);
    await signUpAll(ids);
    const inOrder = [...ids].sort((a, b) => bucketOf(a) - bucketOf(b) || (a < b ? -1 : 1));
    const unknown = idsOf('unknown', lane, 1);
    await inTransaction(pool, async (first) => {
      const locked = await lockUsers(first, lane, [...ids.slice(0, 3), ...unknown]);
      expect(locked.map(({ id }) => id)).toEqual(inOrder.filter((id) => ids.indexOf(id) < 3));
      await inTransaction(pool, async (second) => {
        const others = await lockUsers(second, lane, ids, { skipLocked: true });
        expect(others.map(({ id }) => id)).toEqual(inOrder.filter((id) => ids.indexOf(id) >= 3));
      });
    });
  });
});
