/** Reads the accounts of users whose rows are locked: one statement per table, however many users. */
import { Account } from '../domain/account.ts';
import type { Grant, Hold } from '../domain/model.ts';
import type { Catalogue } from '../domain/plans.ts';
import { GRANT_SELECT, HOLD_SELECT, USER_SELECT, type UserRow } from './account-rows.ts';
import { arrayOf } from './arrays.ts';
import { bucketOf } from './bucket.ts';
import type { Transaction } from './database.ts';
import { newUserRowId } from './ids.ts';
import type { Lane } from './lanes.ts';
import { HIDDEN_BUCKETS } from './row-sets.ts';

/** An account and what stands in the database of it, so that only what changed is written (account-save.ts). */
export interface LoadedAccount {
  account: Account;
  row: UserRow;
  /** The grant whose remaining tokens are on the row. */
  headBefore: Grant | undefined;
}

type OfUser<T> = T & { userId: string };

/**
 * In the order of buckets and ids.
 * @param lane of all of them
 * @returns their rows; unknown ones are left out
 */
export function lockUsers(
  tx: Transaction,
  lane: Lane,
  userIds: readonly string[],
  { skipLocked = false }: { skipLocked?: boolean } = {},
): Promise<UserRow[]> {
  const name = `lock_users${skipLocked ? '_skip_locked' : ''}`;
  const order = `order by bucket, id for no key update of users ${skipLocked ? 'skip locked' : ''}`;
  return readOfUsers(tx, lane, userIds, { name, select: USER_SELECT, table: 'users', id: 'id', order });
}

/**
 * @param lane of all users
 * @param users locked rows
 */
export async function loadAccounts(
  tx: Transaction,
  lane: Lane,
  users: readonly UserRow[],
  { catalogue, now }: { catalogue: Catalogue; now: Date },
): Promise<LoadedAccount[]> {
  const holders = users.filter(({ heldTokens, nextDueAt }) => heldTokens > 0 || nextDueAt <= now);
  const [grants, holds] = await Promise.all([
    loadOpenGrants(tx, lane, users),
    loadOpenHolds(tx, lane, holders),
  ]);
  return users.map((row) => {
    const { headGrantId, headSource: _source, headRemainingTokens, ...user } = row;
    const own = grants.get(row.id) ?? [];
    const head = own.find(({ id }) => id === headGrantId);
    if (head) head.remainingTokens = headRemainingTokens;
    return {
      account: new Account(user, own, holds.get(row.id) ?? [], catalogue, now, () =>
        newUserRowId('gr', row.id),
      ),
      row,
      headBefore: head && { ...head },
    };
  });
}

async function loadOpenGrants(
  tx: Transaction,
  lane: Lane,
  users: readonly UserRow[],
): Promise<Map<string, Grant[]>> {
  const rows = await readOfUsers<OfUser<Grant>>(tx, lane, idsOf(users), {
    name: 'open_grants',
    select: `user_id as "userId", ${GRANT_SELECT}`,
    table: 'credit_grants',
    id: 'user_id',
    condition: 'and (closed_at is null or held_tokens > 0 or settled_debt_tokens > 0)',
  });
  return byUser(rows);
}

async function loadOpenHolds(
  tx: Transaction,
  lane: Lane,
  holders: readonly UserRow[],
): Promise<Map<string, Hold[]>> {
  if (holders.length === 0) return new Map();
  const rows = await readOfUsers<OfUser<Hold>>(tx, lane, idsOf(holders), {
    name: 'open_holds',
    select: `user_id as "userId", ${HOLD_SELECT}`,
    table: 'holds',
    id: 'user_id',
    condition: "and status = 'open'",
  });
  return byUser(rows);
}

const idsOf = (users: readonly UserRow[]): string[] => users.map(({ id }) => id);

interface Reading {
  name: string;
  select: string;
  table: string;
  /** The column that has the user's id. */
  id: string;
  condition?: string;
  order?: string;
}

/** Where there is one bucket, it is named by one parameter: else Citus would ask every node. */
async function readOfUsers<Row extends object>(
  tx: Transaction,
  lane: Lane,
  userIds: readonly string[],
  { name, select, table, id, condition = '', order = '' }: Reading,
): Promise<Row[]> {
  const ofOne = `from ${table} where bucket = $1 and ${id} = any($2::text[])`;
  const ofAll = `from unnest(${HIDDEN_BUCKETS}, $2::text[]) as r(r_bucket, r_id)
    join ${table} on bucket = r_bucket and ${id} = r_id where true`;
  const { rows } = await tx.query<Row>({
    name: `${name}_of_${lane === null ? 'all' : 'one'}`,
    text: `select ${select} ${lane === null ? ofAll : ofOne} ${condition} ${order}`,
    values: [lane ?? arrayOf('smallint', userIds, bucketOf), arrayOf('text', userIds, (id) => id)],
  });
  return rows;
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
