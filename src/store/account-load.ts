/** Reads the accounts of users whose rows are locked: one statement per table, however many users. */
import { Account } from '../domain/account.ts';
import type { Grant, Hold } from '../domain/model.ts';
import type { Catalogue } from '../domain/plans.ts';
import { GRANT_SELECT, HOLD_SELECT, USER_SELECT, type UserRow } from './account-rows.ts';
import { bucketOf } from './bucket.ts';
import type { Transaction } from './database.ts';
import { newUserRowId } from './ids.ts';

/** An account and what stands in the database of it, so that only what changed is written (account-save.ts). */
export interface LoadedAccount {
  account: Account;
  row: UserRow;
  /** The grant whose remaining tokens are on the row. */
  headBefore: Grant | undefined;
}

type OfUser<T> = T & { userId: string };

export async function lockUser(tx: Transaction, userId: string): Promise<UserRow | undefined> {
  const { rows } = await tx.query<UserRow>(
    `select ${USER_SELECT} from users where bucket = $1 and id = $2 for no key update`,
    [bucketOf(userId), userId],
  );
  return rows[0];
}

/** @param users rows of this bucket, locked */
export async function loadAccounts(
  tx: Transaction,
  bucket: number,
  users: readonly UserRow[],
  { catalogue, now }: { catalogue: Catalogue; now: Date },
): Promise<LoadedAccount[]> {
  const grants = await loadOpenGrants(tx, bucket, users);
  const holders = users.filter(({ heldTokens, nextDueAt }) => heldTokens > 0 || nextDueAt <= now);
  const holds = await loadOpenHolds(tx, bucket, holders);
  return users.map((row) => {
    const { headGrantId, headSource: _source, headRemainingTokens, ...user } = row;
    const own = grants.get(row.id) ?? [];
    const head = own.find(({ id }) => id === headGrantId);
    if (head) head.remainingTokens = headRemainingTokens;
    const newGrantId = (): string => newUserRowId('gr', row.id);
    return {
      account: new Account(user, own, holds.get(row.id) ?? [], catalogue, now, newGrantId),
      row,
      headBefore: head && { ...head },
    };
  });
}

async function loadOpenGrants(
  tx: Transaction,
  bucket: number,
  users: readonly UserRow[],
): Promise<Map<string, Grant[]>> {
  const { rows } = await tx.query<OfUser<Grant>>(
    `select user_id as "userId", ${GRANT_SELECT} from credit_grants
     where bucket = $1 and user_id = any($2) and (closed_at is null or held_tokens > 0 or settled_debt_tokens > 0)`,
    [bucket, users.map(({ id }) => id)],
  );
  return byUser(rows);
}

async function loadOpenHolds(
  tx: Transaction,
  bucket: number,
  holders: readonly UserRow[],
): Promise<Map<string, Hold[]>> {
  if (holders.length === 0) return new Map();
  const { rows } = await tx.query<OfUser<Hold>>(
    `select user_id as "userId", ${HOLD_SELECT} from holds
     where bucket = $1 and user_id = any($2) and status = 'open'`,
    [bucket, holders.map(({ id }) => id)],
  );
  return byUser(rows);
}

function byUser<T>(rows: readonly OfUser<T>[]): Map<string, T[]> {
  const grouped = new Map<string, T[]>();
  for (const row of rows) {
    const own = grouped.get(row.userId);
    if (own) own.push(row);
    else grouped.set(row.userId, [row]);
  }
  return grouped;
}
