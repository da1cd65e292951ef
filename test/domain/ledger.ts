// A user's ledger in memory, and what must hold of it after every step: I1, I2, I3 and I5 of docs/credits.md, without a
// database.
import { Account } from '../../src/domain/account.ts';
import type { EntryType, Grant, UserState } from '../../src/domain/model.ts';
import { type Catalogue, DEFAULT_CATALOGUE } from '../../src/domain/plans.ts';

export const START = new Date('2026-01-10T00:00:00.000Z');
export const DAY = 86_400_000;

export function emptyAccount(catalogue: Catalogue = DEFAULT_CATALOGUE): Account {
  const user: UserState = {
    id: 'user',
    availableTokens: 0,
    heldTokens: 0,
    debtTokens: 0,
    totalTokensUsed: 0,
    monthlyTokensUsed: 0,
    monthlyResetDate: START,
    periodEnd: new Date(START.getTime() + 30 * DAY),
    periodAnchor: START,
    freeAllowanceStart: null,
    isSubscribed: false,
    subscriptionTier: 'free',
    subscriptionEndsAt: null,
    accessEndsAt: null,
    currentSubscriptionId: null,
    stripeCustomerId: null,
    isMetered: false,
    lastSeq: 0,
    nextDueAt: START,
    createdAt: START,
  };
  let grants = 0;
  return new Account(user, [], [], catalogue, START, () => `grant_${++grants}`);
}

/** What a grant says of itself, but for when. */
export function tokensOf(grant: Grant): Record<string, number | boolean> {
  const { remainingTokens, heldTokens, expiredTokens, voidedTokens, isWithheld } = grant;
  const { clawedTokens, clawTargetTokens, clawDebtTokens, settledDebtTokens } = grant;
  return {
    ...{ remainingTokens, heldTokens, expiredTokens, voidedTokens, isWithheld },
    ...{ clawedTokens, clawTargetTokens, clawDebtTokens, settledDebtTokens },
  };
}

/** @throws Error that names what does not hold; expect() would be most of the time of a property test */
export function checkInvariants(account: Account): void {
  const { user, entries } = account;
  const grants = [...account.grants.values()];
  const sum = (of: (grant: Grant) => number): number => grants.reduce((total, one) => total + of(one), 0);
  const remaining = sum((one) => one.remainingTokens);
  ensure(remaining === user.availableTokens, `I1: ${remaining} remain, ${user.availableTokens} available`);
  const held = sum((one) => one.heldTokens);
  ensure(held === user.heldTokens, `I1: ${held} held in grants, ${user.heldTokens} by the user`);
  const owed = sum((one) => one.clawDebtTokens);
  const settled = sum((one) => one.settledDebtTokens);
  ensure(owed === user.debtTokens + settled, `I5: ${owed} owed, ${user.debtTokens} debt, ${settled} settled`);
  let balance = 0;
  for (const { seq, tokens, balanceAfter } of entries) {
    balance += tokens;
    ensure(balanceAfter === balance, `I1: entry ${seq} says ${balanceAfter} and not ${balance}`);
  }
  ensure(balance === account.balance, `I1: entries sum up to ${balance}, balance ${account.balance}`);
  ensure(Math.min(user.availableTokens, user.heldTokens, user.debtTokens) >= 0, 'I2: a negative balance');
  for (const grant of grants) checkGrant(account, grant);
}

function checkGrant({ entries }: Account, grant: Grant): void {
  const moved: Partial<Record<EntryType, number>> = {};
  let total = 0;
  for (const { type, parts } of entries) {
    for (const part of parts) {
      if (part.grantId !== grant.id) continue;
      moved[type] = (moved[type] ?? 0) + part.tokens;
      total += part.tokens;
    }
  }
  const says = `${grant.id}: ${JSON.stringify(tokensOf(grant))}, entries ${JSON.stringify(moved)}`;
  ensure(total === grant.remainingTokens + grant.heldTokens, `I3: moved ${total} of ${says}`);
  ensure(-(moved.expired ?? 0) === grant.expiredTokens, `I3: expired of ${says}`);
  ensure(-(moved.voided ?? 0) === grant.voidedTokens + grant.clawedTokens, `I3: voided of ${says}`);
  const { clawedTokens: clawed, clawDebtTokens: owed, clawTargetTokens: target } = grant;
  ensure(clawed + owed <= target && target <= grant.amountTokens, `I5: too much is taken of ${says}`);
  const gone = clawed + owed + grant.expiredTokens + grant.voidedTokens;
  ensure(gone >= target, `I5: too little is taken of ${says}`);
  const numbers = Object.values(tokensOf(grant)).filter((value) => typeof value === 'number');
  ensure(Math.min(...numbers) >= 0, `I2: negative in ${says}`);
}

function ensure(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}
