/**
 * Writes what changed of loaded accounts: entries first, then grants, holds, the users' rows; one statement per table,
 * however many users.
 */
import type { Account } from '../domain/account.ts';
import type { Entry, Grant, Hold } from '../domain/model.ts';
import type { LoadedAccount } from './account-load.ts';
import {
  type EntryRow,
  entryTypes,
  grantTypes,
  holdTypes,
  mutableGrantTypes,
  mutableUserTypes,
  type UserRow,
} from './account-rows.ts';
import type { Transaction } from './database.ts';
import type { Lane } from './lanes.ts';
import { type Columns, columnOf, type OfUser, RowSetStatement } from './row-sets.ts';

/** @param lane of all of their users */
export async function saveAccounts(
  tx: Transaction,
  lane: Lane,
  loaded: readonly LoadedAccount[],
  now: Date,
): Promise<void> {
  const changes = loaded.map(changesOf);
  const all = <Row>(rowsOf: (one: Changes) => Iterable<Row>): OfUser<Row>[] => {
    const rows: OfUser<Row>[] = [];
    for (const one of changes) for (const row of rowsOf(one)) rows.push({ userId: one.userId, row });
    return rows;
  };
  await INSERT_ENTRIES.write(
    tx,
    lane,
    all(({ account }) => account.entries.map(entryRow)),
  );
  await INSERT_GRANTS.write(
    tx,
    lane,
    all(({ account }) => account.newGrants),
  );
  await UPDATE_GRANTS.write(
    tx,
    lane,
    all(({ changedGrants }) => changedGrants),
  );
  await UPSERT_HOLDS.write(
    tx,
    lane,
    all(({ account }) => account.changedHolds),
  );
  await updateUsers(tx, lane, changes, now);
}

interface Changes {
  userId: string;
  account: Account;
  before: UserRow;
  after: UserRow;
  /** Stored ones. */
  changedGrants: Grant[];
}

function changesOf({ account, row, headBefore }: LoadedAccount): Changes {
  const head = account.openGrants().find((grant) => grant.remainingTokens > 0);
  return {
    userId: row.id,
    account,
    before: row,
    after: {
      ...account.user,
      headGrantId: head?.id ?? null,
      headRemainingTokens: head?.remainingTokens ?? 0,
    },
    changedGrants: grantsToWrite({ account, row, headBefore }, head),
  };
}

/**
 * The head's remaining tokens are on the user row, so a consume that stays within the head writes no grant at all; a
 * head that stops being it is written back.
 */
function grantsToWrite({ account, row, headBefore }: LoadedAccount, head: Grant | undefined): Grant[] {
  const written = new Set(account.changedGrants);
  const oldHeadId = row.headGrantId;
  if (oldHeadId !== null && oldHeadId !== head?.id) {
    const oldHead = account.grants.get(oldHeadId);
    if (oldHead) written.add(oldHead);
  }
  if (head && headBefore && head.id === oldHeadId && isOnlyBurnt(headBefore, head)) written.delete(head);
  return [...written].filter((grant) => !account.newGrants.has(grant));
}

function isOnlyBurnt(before: Grant, after: Grant): boolean {
  const fields = Object.keys(grantTypes) as (keyof Grant)[];
  return fields.every((field) => field === 'remainingTokens' || isSame(before[field], after[field]));
}

function entryRow({ parts, ...entry }: Entry): EntryRow {
  const [first, ...others] = parts;
  const isSingle = others.length === 0;
  return { ...entry, grantId: (isSingle && first?.grantId) || null, parts: isSingle ? null : parts };
}

function insertInto<Field extends string>(
  table: string,
  columns: Columns<Field>,
  onConflict = '',
): RowSetStatement<Field> {
  const list = ['user_id', ...Object.keys(columns).map(columnOf)].join(', ');
  const textOf = ({ rows, bucket }: { rows: string; bucket: string }): string =>
    `insert into ${table} (bucket, ${list}) select ${bucket}, ${list} from ${rows} ${onConflict}`;
  return new RowSetStatement(`insert_${table}`, columns, textOf);
}

const INSERT_ENTRIES = insertInto<keyof EntryRow>('ledger_entries', entryTypes);
const INSERT_GRANTS = insertInto<keyof Grant>('credit_grants', grantTypes);
const UPSERT_HOLDS = insertInto<keyof Hold>(
  'holds',
  holdTypes,
  `on conflict (bucket, id) do update
    set status = excluded.status, captured_tokens = excluded.captured_tokens, settled_at = excluded.settled_at`,
);

const assignmentsOf = (fields: readonly string[]): string =>
  fields.map((field) => `${columnOf(field)} = r.${columnOf(field)}`).join(', ');

const UPDATE_GRANTS = new RowSetStatement(
  'update_credit_grants',
  { id: grantTypes.id, ...mutableGrantTypes },
  ({
    rows,
    bucket,
  }) => `update credit_grants g set ${assignmentsOf(Object.keys(mutableGrantTypes))} from ${rows}
    where g.bucket = ${bucket} and g.id = r.id and g.user_id = r.user_id`,
);

type MutableUserField = keyof typeof mutableUserTypes;
type UserUpdate = Pick<UserRow, MutableUserField> & { seqBefore: number; updatedAt: Date };
const mutableUserFields = Object.keys(mutableUserTypes) as MutableUserField[];

/** What no account has changed may have been written past them in the same transaction: the Stripe customer. */
async function updateUsers(
  tx: Transaction,
  lane: Lane,
  users: readonly Changes[],
  updatedAt: Date,
): Promise<void> {
  const fields = mutableUserFields.filter((field) =>
    users.some(({ before, after }) => !isSame(before[field], after[field])),
  );
  if (fields.length === 0) return;
  const rows = users.map(({ userId, before, after }) => ({
    userId,
    row: { ...after, seqBefore: before.lastSeq, updatedAt },
  }));
  await userUpdateOf(fields).write(tx, lane, rows);
}

/** By the fields that they set: a dozen, whatever is asked of the service. */
const userUpdates = new Map<number, RowSetStatement<keyof UserUpdate>>();

function userUpdateOf(fields: readonly MutableUserField[]): RowSetStatement<keyof UserUpdate> {
  const set = fields.reduce((sum, field) => sum + 2 ** mutableUserFields.indexOf(field), 0);
  const known = userUpdates.get(set);
  if (known) return known;
  const types = Object.fromEntries(fields.map((field) => [field, mutableUserTypes[field]]));
  // Guarded by the seq that was read: a row that has moved on under us is an error and never overwritten.
  const statement = new RowSetStatement<keyof UserUpdate>(
    `update_users_${set.toString(36)}`,
    { seqBefore: 'bigint', ...types, updatedAt: 'timestamptz' } as Columns<keyof UserUpdate>,
    ({ rows, bucket }) => `update users u set ${assignmentsOf([...fields, 'updatedAt'])} from ${rows}
      where u.bucket = ${bucket} and u.id = r.user_id and u.last_seq = r.seq_before`,
  );
  userUpdates.set(set, statement);
  return statement;
}

function isSame(a: unknown, b: unknown): boolean {
  return a instanceof Date && b instanceof Date ? a.getTime() === b.getTime() : a === b;
}
