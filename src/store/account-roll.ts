/** What is due for an account, and the facts by which that is decided. */
import type { Account } from '../domain/account.ts';
import type { Facts } from '../domain/agreements.ts';
import type { Grant } from '../domain/model.ts';
import { roll } from '../domain/roll.ts';
import { settle } from '../domain/settle.ts';
import { type Landing, landingsOf } from '../domain/windows.ts';
import { GRANT_SELECT, type UserRow } from './account-rows.ts';
import { bucketOf } from './bucket.ts';
import type { Transaction } from './database.ts';
import { listPaidLines } from './paid-lines.ts';
import { listSubscriptions } from './subscriptions.ts';

/** Applies what is due and sets the next due date; where the facts decide, they do so at that instant. */
export async function rollAccount(tx: Transaction, account: Account): Promise<void> {
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
export function mayFallDueOtherwise(
  { user, newGrants, changedHolds, entries }: Account,
  before: UserRow,
): boolean {
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

function isSame(a: Date | null, b: Date | null): boolean {
  return a?.getTime() === b?.getTime();
}
