/**
 * A user's account under the row lock of its user: load, let the domain decide, write what changed. The order of
 * locks is user, grants, the rest; whoever changes a user's credits comes through here.
 */
import { Account } from '../domain/account.ts';
import type { Facts } from '../domain/agreements.ts';
import type { Entry, Grant, Hold } from '../domain/model.ts';
import type { Catalogue } from '../domain/plans.ts';
import { roll } from '../domain/roll.ts';
import { settle } from '../domain/settle.ts';
import { type Landing, landingsOf } from '../domain/windows.ts';
import { notFound } from '../errors.ts';
import {
  GRANT_SELECT,
  grantColumns,
  HOLD_SELECT,
  holdColumns,
  mutableUserFields,
  USER_SELECT,
  type UserRow,
  userColumn,
} from './account-rows.ts';
import { bucketOf } from './bucket.ts';
import type { Pool, Transaction } from './database.ts';
import { newUserRowId } from './ids.ts';
import { listPaidLines } from './paid-lines.ts';
import { listSubscriptions } from './subscriptions.ts';
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
  { catalogue, now }: Pick<AccountOptions, 'catalogue' | 'now'>,
  userId: string,
  work: (account: Account, tx: Transaction) => Promise<T> | T,
): Promise<T> {
  const row = await lockUser(tx, userId);
  if (!row) throw notFound('user');
  const grants = await loadOpenGrants(tx, row);
  const holds = row.heldTokens > 0 || row.nextDueAt <= now ? await loadOpenHolds(tx, userId) : [];
  const { headGrantId, headRemainingTokens, ...user } = row;
  const account = new Account({ ...user }, grants, holds, catalogue, now, () => newUserRowId('gr', userId));
  const before = new Map(grants.map((grant) => [grant.id, { ...grant }]));
  if (row.nextDueAt <= now) await rollAccount(tx, account);
  const result = await work(account, tx);
  if (mayFallDueOtherwise(account, row)) await rollAccount(tx, account);
  await save(tx, account, row, before);
  return result;
}

/** Applies what is due and sets the next due date; where the facts decide, they do so at that instant. */
async function rollAccount(tx: Transaction, account: Account): Promise<void> {
  const { now } = account;
  while (roll(account, await landingsOfCurrent(tx, account), now)) {
    settle(account, await loadFacts(tx, account));
  }
}

async function landingsOfCurrent(tx: Transaction, { user, catalogue }: Account): Promise<Landing[]> {
  if (user.currentSubscriptionId === null) return [];
  return landingsOf(catalogue, await listPaidLines(tx, user.id, user.currentSubscriptionId));
}

/** What only burns tokens moves no due date forward; the date is set anew when it comes. */
function mayFallDueOtherwise({ user, newGrants, changedHolds, entries }: Account, before: UserRow): boolean {
  const hasMoved =
    !isSame(user.nextDueAt, before.nextDueAt) ||
    user.currentSubscriptionId !== before.currentSubscriptionId ||
    !isSame(user.accessEndsAt, before.accessEndsAt) ||
    !isSame(user.periodEnd, before.periodEnd);
  const onlyBurns = entries.every(({ type }) => type === 'consumed');
  return hasMoved || newGrants.size > 0 || changedHolds.size > 0 || !onlyBurns;
}

/**
 * All that Stripe has told of the account's user, and the grants that it led to: closed ones come into the account as
 * well.
 */
export async function loadFacts(tx: Transaction, account: Account): Promise<Facts> {
  const userId = account.user.id;
  const { rows } = await tx.query<Grant>(
    `select ${GRANT_SELECT} from credit_grants where bucket = $1 and user_id = $2
       and (invoice_id is not null or checkout_session_id is not null or is_withheld)`,
    [bucketOf(userId), userId],
  );
  for (const grant of rows) if (!account.grants.has(grant.id)) account.grants.set(grant.id, grant);
  return { subscriptions: await listSubscriptions(tx, userId), lines: await listPaidLines(tx, userId) };
}

async function lockUser(tx: Transaction, userId: string): Promise<UserRow | undefined> {
  const { rows } = await tx.query<UserRow>(
    `select ${USER_SELECT} from users where bucket = $1 and id = $2 for no key update`,
    [bucketOf(userId), userId],
  );
  return rows[0];
}

async function loadOpenGrants(tx: Transaction, user: UserRow): Promise<Grant[]> {
  const { rows } = await tx.query<Grant>(
    `select ${GRANT_SELECT} from credit_grants
     where bucket = $1 and user_id = $2 and (closed_at is null or held_tokens > 0 or settled_debt_tokens > 0)`,
    [bucketOf(user.id), user.id],
  );
  for (const grant of rows) {
    if (grant.id === user.headGrantId) grant.remainingTokens = user.headRemainingTokens;
  }
  return rows;
}

async function loadOpenHolds(tx: Transaction, userId: string): Promise<Hold[]> {
  const { rows } = await tx.query<Hold>(
    `select ${HOLD_SELECT} from holds where bucket = $1 and user_id = $2 and status = 'open'`,
    [bucketOf(userId), userId],
  );
  return rows;
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

async function save(
  tx: Transaction,
  account: Account,
  loaded: UserRow,
  before: ReadonlyMap<string, Grant>,
): Promise<void> {
  const userId = account.user.id;
  await insertEntries(tx, userId, account.entries);
  const head = account.openGrants().find((grant) => grant.remainingTokens > 0);
  const written = grantsToWrite(account, loaded.headGrantId, head, before);
  await insertGrants(tx, userId, [...account.newGrants]);
  await updateGrants(tx, userId, written);
  await upsertHolds(tx, userId, [...account.changedHolds]);
  const next = {
    ...account.user,
    headGrantId: head?.id ?? null,
    headRemainingTokens: head?.remainingTokens ?? 0,
  };
  await updateUser(tx, loaded, next, account.now);
}

/**
 * The head's remaining tokens are on the user row, so a consume that stays within the head writes no grant at all; a
 * head that stops being it is written back.
 */
function grantsToWrite(
  account: Account,
  oldHeadId: string | null,
  head: Grant | undefined,
  before: ReadonlyMap<string, Grant>,
): Grant[] {
  const written = new Set(account.changedGrants);
  if (oldHeadId !== null && oldHeadId !== head?.id) {
    const oldHead = account.grants.get(oldHeadId);
    if (oldHead) written.add(oldHead);
  }
  const headBefore = head && before.get(head.id);
  if (head && headBefore && head.id === oldHeadId && isOnlyBurnt(headBefore, head)) written.delete(head);
  return [...written].filter((grant) => !account.newGrants.has(grant));
}

function isOnlyBurnt(before: Grant, after: Grant): boolean {
  const fields = Object.keys(grantColumns) as (keyof Grant)[];
  return fields.every((field) => field === 'remainingTokens' || isSame(before[field], after[field]));
}

async function insertEntries(tx: Transaction, userId: string, entries: readonly Entry[]): Promise<void> {
  if (entries.length === 0) return;
  const rows = entries.map((entry) => ({
    ...entry,
    grantId: entry.parts.length === 1 ? entry.parts[0]?.grantId : null,
    parts: entry.parts.length > 1 ? entry.parts : null,
    requestHash: entry.requestHash?.toString('hex') ?? null,
  }));
  await tx.query(
    `insert into ledger_entries (bucket, user_id, seq, type, tokens, balance_after, available_after, total_used_after,
       overage_tokens, debt_delta_tokens, grant_id, parts, key, request_hash, feature, reason, metadata, refers_to_seq,
       hold_id, request_id, created_at)
     select $1, $2, r.seq, r.type, r.tokens, r."balanceAfter", r."availableAfter", r."totalUsedAfter",
       r."overageTokens", r."debtDeltaTokens", r."grantId", r.parts, r.key, decode(r."requestHash", 'hex'), r.feature,
       r.reason, r.metadata, r."refersToSeq", r."holdId", r."requestId", r."createdAt"
     from jsonb_to_recordset($3::jsonb) as r(seq bigint, type entry_type, tokens bigint, "balanceAfter" bigint,
       "availableAfter" bigint, "totalUsedAfter" bigint, "overageTokens" bigint, "debtDeltaTokens" bigint,
       "grantId" text, parts jsonb, key text, "requestHash" text, feature text, reason text, metadata jsonb,
       "refersToSeq" bigint, "holdId" text, "requestId" text, "createdAt" timestamptz)`,
    [bucketOf(userId), userId, JSON.stringify(rows)],
  );
}

const grantRecord = `jsonb_populate_recordset(null::credit_grants, $3::jsonb)`;

const asRows = (columns: Record<string, string>, items: readonly object[]): string =>
  JSON.stringify(
    items.map((item) =>
      Object.fromEntries(Object.entries(item).map(([field, value]) => [columns[field] ?? field, value])),
    ),
  );

async function insertGrants(tx: Transaction, userId: string, grants: readonly Grant[]): Promise<void> {
  if (grants.length === 0) return;
  const columns = Object.values(grantColumns).join(', ');
  await tx.query(
    `insert into credit_grants (bucket, user_id, ${columns}) select $1, $2, ${columns} from ${grantRecord}`,
    [bucketOf(userId), userId, asRows(grantColumns, grants)],
  );
}

async function updateGrants(tx: Transaction, userId: string, grants: readonly Grant[]): Promise<void> {
  if (grants.length === 0) return;
  const { rowCount } = await tx.query(
    `update credit_grants g set remaining_tokens = r.remaining_tokens, held_tokens = r.held_tokens,
       expires_at = r.expires_at, closed_at = r.closed_at, voided_at = r.voided_at,
       expired_tokens = r.expired_tokens, voided_tokens = r.voided_tokens, clawed_tokens = r.clawed_tokens,
       claw_target_tokens = r.claw_target_tokens, claw_debt_tokens = r.claw_debt_tokens,
       settled_debt_tokens = r.settled_debt_tokens, is_withheld = r.is_withheld
     from ${grantRecord} r where g.bucket = $1 and g.user_id = $2 and g.id = r.id`,
    [bucketOf(userId), userId, asRows(grantColumns, grants)],
  );
  if (rowCount !== grants.length) throw new Error(`${grants.length} grants to write, ${rowCount} written.`);
}

async function upsertHolds(tx: Transaction, userId: string, holds: readonly Hold[]): Promise<void> {
  if (holds.length === 0) return;
  const columns = Object.values(holdColumns).join(', ');
  await tx.query(
    `insert into holds (bucket, user_id, ${columns})
     select $1, $2, ${columns} from jsonb_populate_recordset(null::holds, $3::jsonb)
     on conflict (bucket, id) do update
       set status = excluded.status, captured_tokens = excluded.captured_tokens, settled_at = excluded.settled_at`,
    [bucketOf(userId), userId, asRows(holdColumns, holds)],
  );
}

/** Guarded by the seq that was read: a row that has moved on under us is an error and never overwritten. */
async function updateUser(tx: Transaction, loaded: UserRow, next: UserRow, now: Date): Promise<void> {
  const changed = mutableUserFields.filter((field) => !isSame(loaded[field], next[field]));
  if (changed.length === 0) return;
  const assignments = changed.map((field, index) => `${userColumn(field)} = $${index + 5}`);
  const { rowCount } = await tx.query(
    `update users set ${assignments.join(', ')}, updated_at = $4 where bucket = $1 and id = $2 and last_seq = $3`,
    [bucketOf(loaded.id), loaded.id, loaded.lastSeq, now, ...changed.map((field) => next[field])],
  );
  if (rowCount !== 1)
    throw new Error(`The row of a user changed while it was locked (seq ${loaded.lastSeq}).`);
}

function isSame(a: unknown, b: unknown): boolean {
  return a instanceof Date && b instanceof Date ? a.getTime() === b.getTime() : a === b;
}
