/** Invariants I1 to I8 of docs/credits.md, in memory. Written from the table there and not from the code that keeps them. */
import type { Grant } from '../src/domain/model.ts';
import type { SubscriptionState } from '../src/domain/subscription.ts';
import { CATALOGUE } from './catalogue.ts';
import type { Ledger } from './ledger.ts';
import { DAY } from './stripe-model.ts';

export class Violation extends Error {
  override readonly name = 'Violation';
}

interface Seen {
  entries: number;
  balance: number;
  keys: Set<string>;
  grants: number;
}

const seen = new WeakMap<Ledger, Seen>();

export function checkInvariants(ledger: Ledger, after: string): void {
  const fail = (invariant: string, detail: string): never => {
    throw new Violation(`${invariant} after ${after}: ${detail}`);
  };
  const before = seen.get(ledger) ?? { entries: 0, balance: 0, keys: new Set<string>(), grants: 0 };
  seen.set(ledger, before);
  checkEntries(ledger, before, fail);
  checkGrants(ledger, fail);
  checkWindows(ledger, before, fail);
  checkPlan(ledger, fail);
}

type Fail = (invariant: string, detail: string) => never;

/** I1: the chain, without a gap; I6: one effect per key. Earlier entries never change: only new ones are looked at. */
function checkEntries({ account }: Ledger, before: Seen, fail: Fail): void {
  for (; before.entries < account.entries.length; before.entries++) {
    const entry = account.entries[before.entries];
    if (!entry) break;
    before.balance += entry.tokens;
    if (entry.seq !== before.entries + 1) fail('I1', `entry ${before.entries + 1} has seq ${entry.seq}`);
    if (entry.balanceAfter !== before.balance)
      fail('I1', `entry ${entry.seq} says ${entry.balanceAfter}, the sum is ${before.balance}`);
    if (before.keys.has(entry.key)) fail('I6', `key ${entry.key} took effect twice`);
    before.keys.add(entry.key);
  }
  const { availableTokens, heldTokens, debtTokens, lastSeq } = account.user;
  if (before.balance !== availableTokens + heldTokens - debtTokens)
    fail('I1', `entries ${before.balance}, row ${availableTokens} + ${heldTokens} - ${debtTokens}`);
  if (lastSeq !== before.entries) fail('I1', `${before.entries} entries, the row says ${lastSeq}`);
  if (Math.min(availableTokens, heldTokens, debtTokens) < 0) fail('I2', 'the row is negative');
}

/** I1 to I3 and I5 per grant, and what the grants sum up to. */
function checkGrants({ account }: Ledger, fail: Fail): void {
  let remaining = 0;
  let owed = 0;
  let settled = 0;
  let consumed = 0;
  for (const grant of account.grants.values()) {
    remaining += grant.remainingTokens;
    owed += grant.clawDebtTokens;
    settled += grant.settledDebtTokens;
    const spent = spentOf(grant);
    consumed += spent;
    if (
      Math.min(grant.remainingTokens, grant.heldTokens, spent, grant.clawedTokens, grant.clawDebtTokens) < 0
    )
      fail('I2', `${grant.key} is negative: ${JSON.stringify(grant)}`);
    const { clawTargetTokens: target, clawedTokens: clawed, clawDebtTokens: debt } = grant;
    if (target > grant.amountTokens) fail('I5', `${grant.key}: ${target} to claw of ${grant.amountTokens}`);
    if (clawed + debt > target) fail('I5', `${grant.key}: ${clawed} clawed and ${debt} owed of ${target}`);
    if (grant.expiredTokens + grant.voidedTokens + clawed + debt < target)
      fail('I5', `${grant.key}: less gone than ${target}`);
  }
  const { availableTokens, debtTokens, totalTokensUsed } = account.user;
  if (remaining !== availableTokens) fail('I1', `grants ${remaining}, row ${availableTokens}`);
  if (owed !== debtTokens + settled) fail('I5', `owed ${owed}, debt ${debtTokens}, settled ${settled}`);
  if (consumed !== totalTokensUsed) fail('I3', `grants have spent ${consumed}, used ${totalTokensUsed}`);
}

/** Amount = spent + settled debt + expired + voided + clawed + remaining + held. */
export function spentOf(grant: Grant): number {
  return (
    grant.amountTokens -
    grant.settledDebtTokens -
    grant.expiredTokens -
    grant.voidedTokens -
    grant.clawedTokens -
    grant.remainingTokens -
    grant.heldTokens
  );
}

/** Nothing burns past its expiry; of grants that are new, I4: each bought one has its line, I7: one allowance per window. */
function checkWindows({ account, facts }: Ledger, before: Seen, fail: Fail): void {
  for (const grant of account.grants.values()) {
    if (grant.remainingTokens > 0 && grant.expiresAt !== null && grant.expiresAt <= account.now)
      fail('I2', `${grant.key} is open after its expiry`);
  }
  if (account.grants.size === before.grants) return;
  before.grants = account.grants.size;
  const lines = new Set(facts.lines.map(({ paymentId, lineId }) => `${paymentId} ${lineId}`));
  const windows = new Set<string>();
  for (const grant of account.grants.values()) {
    if (grant.invoiceId !== null && !lines.has(`${grant.invoiceId} ${grant.invoiceLineId}`))
      fail('I4', `${grant.key} has no line`);
    if (grant.windowKind !== 'full') continue;
    const window = `${grant.subscriptionItemId} ${grant.windowStart?.getTime()}`;
    if (windows.has(window)) fail('I7', `two allowances for ${window}`);
    windows.add(window);
  }
}

const GIVE_PLAN = ['trialing', 'active', 'past_due'];

/** I8: the plan of the oldest subscription that gives one. */
function checkPlan({ account, facts }: Ledger, fail: Fail): void {
  const { user, now } = account;
  const giving = facts.subscriptions.find((one) => {
    if (!GIVE_PLAN.includes(one.status) || one.plan === null) return false;
    const until = accessEnd(one, facts.lines);
    return until > now.getTime() && (one.cancelAt === null || one.cancelAt > now);
  });
  if (user.subscriptionTier !== (giving?.plan ?? 'free'))
    fail('I8', `plan ${user.subscriptionTier}, Stripe says ${giving?.plan ?? 'free'}`);
  if (user.currentSubscriptionId !== (giving?.id ?? null))
    fail('I8', `subscription ${user.currentSubscriptionId}, Stripe says ${giving?.id}`);
}

function accessEnd(one: SubscriptionState, lines: Ledger['facts']['lines']): number {
  let until = one.status === 'trialing' && one.trialEnd ? one.trialEnd.getTime() : one.startedAt.getTime();
  for (const { kind, subscriptionId, end } of lines) {
    if (subscriptionId === one.id && ['full', 'trial', 'delta'].includes(kind))
      until = Math.max(until, end.getTime());
  }
  const graceDays = CATALOGUE.plans[one.plan ?? '']?.graceDays ?? 0;
  return until + graceDays * DAY;
}
