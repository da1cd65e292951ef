/**
 * Invariants I1 to I8 of docs/credits.md, in memory. Written from the table there and not from the code that keeps them.
 *
 * They are checked after every event, thousands of times for one ledger, so each check looks at what may have changed:
 * new entries and new grants, all grants once a rule has had the account in its hands, and always what depends on the
 * time. `checkEverything` trusts nothing that was seen before.
 */
import type { Facts } from '../src/domain/agreements.ts';
import type { Grant } from '../src/domain/model.ts';
import type { SubscriptionState } from '../src/domain/subscription.ts';
import { CATALOGUE } from './catalogue.ts';
import type { Ledger } from './ledger.ts';
import { DAY } from './stripe-model.ts';

export class Violation extends Error {
  override readonly name = 'Violation';
}

/** What was looked at before, of one ledger. */
export interface Seen {
  /** Of the ledger, when its account was looked at. */
  version: number;
  entries: number;
  balance: number;
  keys: Set<string>;
  grants: number;
  windows: Set<string>;
  /** The first expiry (ms) of what remains. */
  expiresAt: number;
  plans: PlanEnds | undefined;
}

/** Of the subscriptions that give a plan, oldest first, until when they do (ms). */
interface PlanEnds {
  facts: Facts;
  ends: { subscription: SubscriptionState; until: number }[];
}

export const nothingSeen = (): Seen => ({
  version: -1,
  entries: 0,
  balance: 0,
  keys: new Set(),
  grants: 0,
  windows: new Set(),
  expiresAt: Number.POSITIVE_INFINITY,
  plans: undefined,
});

/** @throws Violation */
export function checkInvariants(ledger: Ledger, after: string): void {
  check(ledger, ledger.seen, after);
}

/** From the first entry on, as if nothing had been looked at before. @throws Violation */
export function checkEverything(ledger: Ledger, after: string): void {
  check(ledger, nothingSeen(), after);
}

function check(ledger: Ledger, before: Seen, after: string): void {
  try {
    if (before.version !== ledger.version) {
      before.version = ledger.version;
      checkEntries(ledger, before);
      checkGrants(ledger, before);
      checkNewGrants(ledger, before);
    }
    if (before.expiresAt <= ledger.account.now.getTime()) fail('I2', 'a grant is open after its expiry');
    checkPlan(ledger, before);
  } catch (error) {
    if (error instanceof Violation) error.message = `${error.message} (after ${after})`;
    throw error;
  }
}

function fail(invariant: string, detail: string): never {
  throw new Violation(`${invariant}: ${detail}`);
}

/** I1: the chain, without a gap; I6: one effect per key. Of entries that were seen before `checkEverything` sees a change. */
function checkEntries({ account }: Ledger, before: Seen): void {
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
function checkGrants({ account }: Ledger, before: Seen): void {
  let remaining = 0;
  let owed = 0;
  let settled = 0;
  let consumed = 0;
  before.expiresAt = Number.POSITIVE_INFINITY;
  for (const grant of account.grants.values()) {
    const { clawTargetTokens: target, clawedTokens: clawed, clawDebtTokens: debt } = grant;
    const spent = spentOf(grant);
    remaining += grant.remainingTokens;
    owed += debt;
    settled += grant.settledDebtTokens;
    consumed += spent;
    if (grant.remainingTokens < 0 || grant.heldTokens < 0 || spent < 0 || clawed < 0 || debt < 0)
      fail('I2', `${grant.key} is negative: ${JSON.stringify(grant)}`);
    if (target > grant.amountTokens) fail('I5', `${grant.key}: ${target} to claw of ${grant.amountTokens}`);
    if (clawed + debt > target) fail('I5', `${grant.key}: ${clawed} clawed and ${debt} owed of ${target}`);
    if (grant.expiredTokens + grant.voidedTokens + clawed + debt < target)
      fail('I5', `${grant.key}: less gone than ${target}`);
    if (grant.remainingTokens > 0 && grant.expiresAt !== null)
      before.expiresAt = Math.min(before.expiresAt, grant.expiresAt.getTime());
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

/** I4: each bought grant has its line (lines only ever come); I7: one allowance per window. */
function checkNewGrants({ account, facts }: Ledger, before: Seen): void {
  if (account.grants.size === before.grants) return;
  let index = 0;
  for (const grant of account.grants.values()) {
    if (index++ < before.grants) continue;
    const { invoiceId, invoiceLineId } = grant;
    const isBought = invoiceId !== null;
    if (isBought && !facts.lines.some((one) => one.paymentId === invoiceId && one.lineId === invoiceLineId))
      fail('I4', `${grant.key} has no line`);
    if (grant.windowKind !== 'full') continue;
    const window = `${grant.subscriptionItemId} ${grant.windowStart?.getTime()}`;
    if (before.windows.has(window)) fail('I7', `two allowances for ${window}`);
    before.windows.add(window);
  }
  before.grants = account.grants.size;
}

const GIVE_PLAN = ['trialing', 'active', 'past_due'];
const BUY_TIME = ['full', 'trial', 'delta'];

/** I8: the plan of the oldest subscription that gives one. */
function checkPlan({ account, facts }: Ledger, before: Seen): void {
  const { user } = account;
  const now = account.now.getTime();
  if (before.plans?.facts !== facts) before.plans = { facts, ends: planEnds(facts) };
  let plan = 'free';
  let id: string | null = null;
  for (const { subscription, until } of before.plans.ends) {
    if (until <= now) continue;
    plan = subscription.plan ?? 'free';
    id = subscription.id;
    break;
  }
  if (user.subscriptionTier !== plan) fail('I8', `plan ${user.subscriptionTier}, Stripe says ${plan}`);
  if (user.currentSubscriptionId !== id)
    fail('I8', `subscription ${user.currentSubscriptionId}, Stripe says ${id}`);
}

function planEnds(facts: Facts): PlanEnds['ends'] {
  return facts.subscriptions
    .filter(({ status, plan }) => GIVE_PLAN.includes(status) && plan !== null)
    .map((subscription) => ({ subscription, until: planEnd(subscription, facts.lines) }));
}

function planEnd(one: SubscriptionState, lines: Facts['lines']): number {
  let until = one.status === 'trialing' && one.trialEnd ? one.trialEnd.getTime() : one.startedAt.getTime();
  for (const { kind, subscriptionId, end } of lines) {
    if (subscriptionId === one.id && BUY_TIME.includes(kind)) until = Math.max(until, end.getTime());
  }
  until += (CATALOGUE.plans[one.plan ?? '']?.graceDays ?? 0) * DAY;
  return Math.min(until, one.cancelAt?.getTime() ?? until);
}
