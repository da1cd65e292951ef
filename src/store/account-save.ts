/**
 * Writes what changed of loaded accounts: entries first, then grants, holds, the users' rows; one statement per table,
 * however many users.
 */
import type { Account } from '../domain/account.ts';
import type { Entry, Grant, Hold } from '../domain/model.ts';
import type { LoadedAccount } from './account-load.ts';
import {
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
  const users = loaded.map((one) => changesOf(one, now));
  const all = <Row>(rowsOf: (one: Changes) => Iterable<Row>): OfUser<Row>[] => {
    const rows: OfUser<Row>[] = [];
    for (const one of users) for (const row of rowsOf(one)) rows.push({ userId: one.before.id, row });
    return rows;
  };
  const write = <Field extends string, Row>(
    statement: RowSetStatement<Field, Row>,
    rowsOf: (one: Changes) => Iterable<Row>,
  ): Promise<void> => statement.write(tx, lane, all(rowsOf));
  // Sent in this order, one behind the other: each is put together while the database is busy with the one before.
  await Promise.all([
    write(INSERT_ENTRIES, ({ account }) => account.entries),
    write(INSERT_GRANTS, ({ account }) => account.newGrants),
    write(UPDATE_GRANTS, ({ changedGrants }) => changedGrants),
    write(UPSERT_HOLDS, ({ account }) => account.changedHolds),
    updateUsers(tx, lane, users),
  ]);
}

interface Changes {
  account: Account;
  before: UserRow;
  head: Grant | undefined;
  /** Stored ones. */
  changedGrants: Grant[];
  now: Date;
}

function changesOf({ account, row, headBefore }: LoadedAccount, now: Date): Changes {
  const head = account.openGrants().find((grant) => grant.remainingTokens > 0);
  const changedGrants = grantsToWrite({ account, row, headBefore }, head);
  return { account, before: row, head, changedGrants, now };
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

/** One part is its grant's id, and only several are listed. */
function valueOfEntry(entry: Entry, field: keyof typeof entryTypes): unknown {
  const { parts } = entry;
  if (field === 'grantId') return parts.length === 1 ? parts[0]?.grantId : null;
  if (field === 'parts') return parts.length > 1 ? parts : null;
  return entry[field];
}

function insertInto<Field extends string, Row>(
  table: string,
  columns: Columns<Field>,
  { onConflict = '', valueIn }: { onConflict?: string; valueIn?: (row: Row, field: Field) => unknown } = {},
): RowSetStatement<Field, Row> {
  const list = ['user_id', ...Object.keys(columns).map(columnOf)].join(', ');
  return new RowSetStatement(
    `insert_${table}`,
    columns,
    ({ rows, bucket }) =>
      `insert into ${table} (bucket, ${list}) select ${bucket}, ${list} from ${rows} ${onConflict}`,
    valueIn,
  );
}

const INSERT_ENTRIES = insertInto('ledger_entries', entryTypes, { valueIn: valueOfEntry });
const INSERT_GRANTS = insertInto<keyof Grant, Grant>('credit_grants', grantTypes);
const UPSERT_HOLDS = insertInto<keyof Hold, Hold>('holds', holdTypes, {
  onConflict: `on conflict (bucket, id) do update
    set status = excluded.status, captured_tokens = excluded.captured_tokens, settled_at = excluded.settled_at`,
});

const assignmentsOf = (fields: readonly string[]): string =>
  fields.map((field) => `${columnOf(field)} = r.${columnOf(field)}`).join(', ');

const UPDATE_GRANTS = new RowSetStatement<'id' | keyof typeof mutableGrantTypes, Grant>(
  'update_credit_grants',
  { id: grantTypes.id, ...mutableGrantTypes },
  ({
    rows,
    bucket,
  }) => `update credit_grants g set ${assignmentsOf(Object.keys(mutableGrantTypes))} from ${rows}
    where g.bucket = ${bucket} and g.id = r.id and g.user_id = r.user_id`,
);

type UserField = keyof typeof mutableUserTypes;
const mutableUserFields = Object.keys(mutableUserTypes) as UserField[];

/** The head is not the account's matter but of how it is stored. */
function valueOfUser(
  { account, before, head, now }: Changes,
  field: UserField | 'seqBefore' | 'updatedAt',
): unknown {
  switch (field) {
    case 'headGrantId':
      return head?.id ?? null;
    case 'headSource':
      return head?.source ?? null;
    case 'headRemainingTokens':
      return head?.remainingTokens ?? 0;
    case 'seqBefore':
      return before.lastSeq;
    case 'updatedAt':
      return now;
    default:
      return account.user[field];
  }
}

/** What no account has changed may have been written past them in the same transaction: the Stripe customer. */
async function updateUsers(tx: Transaction, lane: Lane, users: readonly Changes[]): Promise<void> {
  const fields = mutableUserFields.filter((field) =>
    users.some((one) => !isSame(one.before[field], valueOfUser(one, field))),
  );
  if (fields.length === 0) return;
  const rows = users.map((one) => ({ userId: one.before.id, row: one }));
  await userUpdateOf(fields).write(tx, lane, rows);
}

type UserUpdate = RowSetStatement<UserField | 'seqBefore' | 'updatedAt', Changes>;

/** By the fields that they set: a dozen, whatever is asked of the service. */
const userUpdates = new Map<number, UserUpdate>();

function userUpdateOf(fields: readonly UserField[]): UserUpdate {
  const key = fields.reduce((sum, field) => sum + 2 ** mutableUserFields.indexOf(field), 0);
  const known = userUpdates.get(key);
  if (known) return known;
  const columns = [
    ['seqBefore', 'bigint'],
    ...fields.map((field) => [field, mutableUserTypes[field]]),
    ['updatedAt', 'timestamptz'],
  ];
  // Guarded by the seq that was read: a row that has moved on under us is an error and never overwritten.
  const statement: UserUpdate = new RowSetStatement(
    `update_users_${key.toString(36)}`,
    Object.fromEntries(columns),
    ({ rows, bucket }) => `update users u set ${assignmentsOf([...fields, 'updatedAt'])} from ${rows}
      where u.bucket = ${bucket} and u.id = r.user_id and u.last_seq = r.seq_before`,
    valueOfUser,
  );
  userUpdates.set(key, statement);
  return statement;
}

function isSame(a: unknown, b: unknown): boolean {
  return a instanceof Date && b instanceof Date ? a.getTime() === b.getTime() : a === b;
}
