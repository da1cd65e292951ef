/**
 * A user's account under the row lock of its user: load, let the domain decide, write what changed. The order of
 * locks is user, grants, the rest; whoever changes a user's credits comes through here.
 */
import type { Account } from '../domain/account.ts';
import type { Grant } from '../domain/model.ts';
import type { Catalogue } from '../domain/plans.ts';
import { notFound } from '../errors.ts';
import { loadAccounts, lockUsers } from './account-load.ts';
import { mayFallDueOtherwise, rollAccount } from './account-roll.ts';
import { GRANT_SELECT } from './account-rows.ts';
import { saveAccounts } from './account-save.ts';
import { bucketOf } from './bucket.ts';
import type { Pool, Transaction } from './database.ts';
import { type DueChunk, lockDueUsers } from './due-users.ts';
import type { Lane } from './lanes.ts';
import { rollFreeUsers } from './roll-free.ts';
import { inTransaction } from './transaction.ts';

export interface AccountOptions {
  pool: Pool;
  catalogue: Catalogue;
  now: Date;
}

/**
 * Runs `work` on the account of `userId` with everything due already applied, in one transaction.
 * @throws TollgateError `not_found` for an unknown user
 */
export function withAccount<T>(
  options: AccountOptions,
  userId: string,
  work: (account: Account, tx: Transaction) => Promise<T> | T,
): Promise<T> {
  return inTransaction(options.pool, (tx) => inAccount(tx, options, userId, work));
}

/** The same inside a transaction that is already open. */
export async function inAccount<T>(
  tx: Transaction,
  options: Pick<AccountOptions, 'catalogue' | 'now'>,
  userId: string,
  work: (account: Account, tx: Transaction) => Promise<T> | T,
): Promise<T> {
  const bucket = bucketOf(userId);
  const users = await lockUsers(tx, bucket, [userId]);
  const [loaded] = users.length > 0 ? await loadAccounts(tx, bucket, users, options) : [];
  if (!loaded) throw notFound('user');
  const { account, row } = loaded;
  if (row.nextDueAt <= options.now) await rollAccount(tx, account);
  const result = await work(account, tx);
  if (mayFallDueOtherwise(account, row)) await rollAccount(tx, account);
  await saveAccounts(tx, bucket, [loaded], options.now);
  return result;
}

/** Nothing of the chunk was written. */
export class ChunkFailedError extends Error {
  readonly userIds: readonly string[];

  constructor(userIds: readonly string[], cause: unknown) {
    super(`A chunk of ${userIds.length} users could not be rolled forward.`, { cause });
    this.userIds = userIds;
  }
}

/**
 * Nobody is told of a reset, so it need not be on disk before the next chunk begins. A crash takes the newest chunks
 * back whole, and what is due is applied again; whoever changes one of their users meanwhile flushes them first, since
 * the log has one order.
 */
const NOT_FLUSHED = 'set local synchronous_commit = off';

/**
 * Applies what is due for some due users, in one commit. Users that are locked just now are passed over.
 * @returns who was rolled, by bucket in the chunk's order; fewer than the chunk's limit: that was all
 * @throws ChunkFailedError where it had users already
 */
export async function rollChunk(
  { pool, catalogue, now }: AccountOptions,
  chunk: DueChunk,
): Promise<string[]> {
  let userIds: string[] = [];
  try {
    return await inTransaction(pool, async (tx) => {
      await tx.query(NOT_FLUSHED);
      userIds = await lockDueUsers(tx, chunk, now);
      if (userIds.length === 0) return userIds;
      const rolled = mayBePlain(chunk) ? await rollFreeUsers(tx, userIds, { catalogue, now }) : new Set();
      const others = userIds.filter((id) => !rolled.has(id));
      if (others.length > 0) await rollByRules(tx, chunk.lane, others, { catalogue, now });
      return userIds;
    });
  } catch (error) {
    throw userIds.length === 0 ? error : new ChunkFailedError(userIds, error);
  }
}

/** Of the lapsed none is; and Citus takes no such statement (docs/decisions/0015). */
const mayBePlain = ({ kind, lane }: DueChunk): boolean => kind === 'due' && lane === null;

/** The users' rows are locked. */
async function rollByRules(
  tx: Transaction,
  lane: Lane,
  userIds: readonly string[],
  { catalogue, now }: Pick<AccountOptions, 'catalogue' | 'now'>,
): Promise<void> {
  const users = await lockUsers(tx, lane, userIds);
  const loaded = await loadAccounts(tx, lane, users, { catalogue, now });
  for (const { account } of loaded) await rollAccount(tx, account);
  await saveAccounts(tx, lane, loaded, now);
}

/** Brings closed grants into the account, for what returns to them. */
export async function loadGrants(
  tx: Transaction,
  account: Account,
  grantIds: readonly string[],
): Promise<void> {
  const missing = grantIds.filter((id) => !account.grants.has(id));
  if (missing.length === 0) return;
  const { rows } = await tx.query<Grant>(
    `select ${GRANT_SELECT} from credit_grants where bucket = $1 and user_id = $2 and id = any($3)`,
    [bucketOf(account.user.id), account.user.id, missing],
  );
  for (const grant of rows) account.grants.set(grant.id, grant);
}
