/**
 * Writes what changed of loaded accounts of one bucket: entries first, then grants, holds, the users' rows; one
 * statement per table, however many users.
 */
import type { Account } from '../domain/account.ts';
import type { Entry, Grant } from '../domain/model.ts';
import type { LoadedAccount } from './account-load.ts';
import {
  entryColumns,
  grantColumns,
  holdColumns,
  mutableGrantFields,
  mutableUserFields,
  typedUserColumn,
  type UserRow,
  userColumn,
} from './account-rows.ts';
import type { Transaction } from './database.ts';

/** A row as it goes into a statement: JSON, by column. */
type JsonRow = Record<string, unknown>;

export async function saveAccounts(
  tx: Transaction,
  bucket: number,
  loaded: readonly LoadedAccount[],
  now: Date,
): Promise<void> {
  const changes = loaded.map((one) => changesOf(one));
  const rows = (of: (one: Changes) => JsonRow[]): JsonRow[] => changes.flatMap(of);
  await write(
    tx,
    INSERT_ENTRIES,
    bucket,
    rows(({ userId, account }) => account.entries.map((entry) => entryRow(userId, entry))),
  );
  await write(
    tx,
    INSERT_GRANTS,
    bucket,
    rows(({ userId, account }) => [...account.newGrants].map((grant) => rowOf(grantColumns, grant, userId))),
  );
  await write(
    tx,
    UPDATE_GRANTS,
    bucket,
    rows(({ userId, changedGrants }) =>
      changedGrants.map((grant) => rowOf(grantUpdateColumns, grant, userId)),
    ),
  );
  await write(
    tx,
    UPSERT_HOLDS,
    bucket,
    rows(({ userId, account }) => [...account.changedHolds].map((hold) => rowOf(holdColumns, hold, userId))),
  );
  await updateUsers(tx, bucket, changes, now);
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
      headSource: head?.source ?? null,
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
  const fields = Object.keys(grantColumns) as (keyof Grant)[];
  return fields.every((field) => field === 'remainingTokens' || isSame(before[field], after[field]));
}

function rowOf<T extends object>(
  columns: Readonly<Record<string, string>>,
  item: T,
  userId: string,
): JsonRow {
  const row: JsonRow = { user_id: userId };
  for (const field in columns) {
    const value = item[field as keyof T];
    // What is not there is null: half of what a new row would say.
    if (value !== null) row[columns[field] ?? field] = value;
  }
  return row;
}

function entryRow(userId: string, entry: Entry): JsonRow {
  const { parts, requestHash } = entry;
  const row = rowOf(entryColumns, entry, userId);
  if (parts.length === 1) row.grant_id = parts[0]?.grantId;
  else if (parts.length > 1) row.parts = parts;
  if (requestHash) row.request_hash = `\\x${requestHash.toString('hex')}`;
  return row;
}

/** As a query: the rows of `$2` in the bucket `$1`. */
function insertInto(table: string, columns: readonly string[]): string {
  const list = ['user_id', ...columns].join(', ');
  return `insert into ${table} (bucket, ${list})
    select $1, ${list} from jsonb_populate_recordset(null::${table}, $2::jsonb)`;
}

const INSERT_ENTRIES = insertInto('ledger_entries', [
  ...Object.values(entryColumns),
  ...['grant_id', 'parts', 'request_hash'],
]);
const INSERT_GRANTS = insertInto('credit_grants', Object.values(grantColumns));
const UPSERT_HOLDS = `${insertInto('holds', Object.values(holdColumns))}
  on conflict (bucket, id) do update
    set status = excluded.status, captured_tokens = excluded.captured_tokens, settled_at = excluded.settled_at`;

async function write(tx: Transaction, text: string, bucket: number, rows: readonly JsonRow[]): Promise<void> {
  if (rows.length === 0) return;
  const { rowCount } = await tx.query(text, [bucket, JSON.stringify(rows)]);
  if (rowCount !== rows.length) throw new Error(`${rows.length} rows to write, ${rowCount} written.`);
}

const grantUpdateColumns = Object.fromEntries(
  ['id' as const, ...mutableGrantFields].map((field) => [field, grantColumns[field]]),
);

const assignmentsOf = (columns: readonly string[]): string =>
  columns.map((column) => `${column} = r.${column}`).join(', ');

const UPDATE_GRANTS = `update credit_grants g
  set ${assignmentsOf(mutableGrantFields.map((field) => grantColumns[field]))}
  from jsonb_populate_recordset(null::credit_grants, $2::jsonb) r
  where g.bucket = $1 and g.id = r.id and g.user_id = r.user_id`;

/** Guarded by the seq that was read: a row that has moved on under us is an error and never overwritten. */
async function updateUsers(
  tx: Transaction,
  bucket: number,
  users: readonly Changes[],
  now: Date,
): Promise<void> {
  // What no account has changed may have been written past them in the same transaction: the Stripe customer.
  const fields = mutableUserFields.filter((field) =>
    users.some(({ before, after }) => !isSame(before[field], after[field])),
  );
  if (fields.length === 0) return;
  const rows = users.map(({ before, after }) => {
    const row: JsonRow = { id: before.id, seq_before: before.lastSeq };
    for (const field of fields) row[userColumn(field)] = after[field];
    return row;
  });
  const { rowCount } = await tx.query(
    `update users u set ${assignmentsOf(fields.map(userColumn))}, updated_at = $3
     from jsonb_to_recordset($2::jsonb) as r(id text, seq_before bigint, ${fields.map(typedUserColumn).join(', ')})
     where u.bucket = $1 and u.id = r.id and u.last_seq = r.seq_before`,
    [bucket, JSON.stringify(rows), now],
  );
  if (rowCount !== rows.length) {
    throw new Error(`Of ${rows.length} locked rows of users ${rows.length - (rowCount ?? 0)} have changed.`);
  }
}

function isSame(a: unknown, b: unknown): boolean {
  return a instanceof Date && b instanceof Date ? a.getTime() === b.getTime() : a === b;
}
