/** What is due, for accounts of a group. */
import type { Account } from '../domain/account.ts';
import { roll } from '../domain/roll.ts';
import { settle } from '../domain/settle.ts';
import { type Landing, landingsOf } from '../domain/windows.ts';
import { loadFacts } from './account.ts';
import type { UserRow } from './account-rows.ts';
import type { Transaction } from './database.ts';
import { listPaidLines } from './paid-lines.ts';

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
  const hasMoved = user.nextDueAt.getTime() !== before.nextDueAt.getTime();
  const onlyBurns = entries.every(({ type }) => type === 'consumed');
  return hasMoved || newGrants.size > 0 || changedHolds.size > 0 || !onlyBurns;
}
