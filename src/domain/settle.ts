/**
 * Makes a user's ledger agree with what Stripe says was agreed and paid, whatever the order in which we heard of it:
 * grants for paid lines, the plan, what is withheld, what is taken back. The same facts at the same time always end in
 * the same plan, grants and balances; doing it again changes nothing (promise 4). Pure.
 */
import type { Account } from './account.ts';
import { type Agreement, agreementsOf, type Facts, lineOf } from './agreements.ts';
import { openAllowances, putOnFreeClock } from './allowance.ts';
import { restore, setClawTarget, withhold } from './clawback.ts';
import { paidPeriods, settleFreeAllowance } from './free-allowance.ts';
import { allowancesOf, land, newestLanded, replaceEarlier } from './landing.ts';
import type { Grant } from './model.ts';
import { clawTarget, type PaidLine, returnedMinor } from './paid-lines.ts';
import { addMonths, hasCome, isBefore } from './period.ts';
import { FREE_PLAN, planDefinition, TOKENS_PER_CREDIT } from './plans.ts';
import { roll } from './roll.ts';
import { accessEndsAt, hasEnded, isEntitled, type SubscriptionState } from './subscription.ts';
import type { Landing } from './windows.ts';

export interface Settled {
  /** What changed, in words. */
  done: string[];
  /** Entitled subscriptions beside the one that counts. */
  duplicates: string[];
  /** Lines for a window that another line has paid for, until their money has gone back. */
  paidTwice: PaidLine[];
  /** Lines that were paid, or heard of, when their whole time was over: what they gave has left at once. */
  late: PaidLine[];
}

/** The account has everything that is due applied, and all grants that were bought are loaded. */
export function settle(account: Account, facts: Facts): Settled {
  const done: string[] = [];
  const byKey = account.grantsByKey();
  const debtAfter = debtSince(account, facts);
  landPacks(account, facts.lines, byKey, debtAfter, done);
  const agreements = agreementsOf(account.catalogue, facts);
  const entitled = agreements.filter(({ subscription, paidEnd }) =>
    isEntitled(account.catalogue, subscription, paidEnd, account.now),
  );
  const current = entitled[0];
  if (current) leaveOtherPlans(account, current.subscription.plan);
  const late: PaidLine[] = [];
  for (const agreement of agreements) {
    for (const { line } of landWindows(account, agreement, byKey, debtAfter, done))
      if (hasCome(line.end, account.now) && !late.includes(line)) late.push(line);
  }
  applyPlan(account, current, byKey, done);
  for (const agreement of agreements) giveOrWithhold(account, agreement, current);
  clawBack(account, facts, byKey, done);
  if (account.user.subscriptionTier === FREE_PLAN) {
    const paid = agreements.flatMap((agreement) => paidPeriods(account, agreement, byKey));
    settleFreeAllowance(account, paid);
  }
  // What is to come may be another now, even where nothing has changed yet: whoever settles rolls afterwards.
  account.user.nextDueAt = account.now;
  return {
    done,
    duplicates: entitled.slice(1).map(({ subscription }) => subscription.id),
    paidTwice: agreements.flatMap(({ paidTwice }) =>
      paidTwice.filter(({ money }) => returnedMinor(money) < money.paidMinor),
    ),
    late,
  };
}

/** Applies what is due, where all facts are at hand (store/account.ts loads them only when they are needed). */
export function rollWith(account: Account, facts: Facts): void {
  const { now, catalogue, user } = account;
  const agreements = agreementsOf(catalogue, facts);
  const landings = (): readonly Landing[] =>
    agreements.find(({ subscription }) => subscription.id === user.currentSubscriptionId)?.landings ?? [];
  while (roll(account, landings(), now)) settle(account, facts);
}

/** What is owed of payments that went back after a time. */
function debtSince(account: Account, facts: Facts): (at: Date) => number {
  const owing = account.grantsThat(({ clawDebtTokens }) => clawDebtTokens > 0);
  const owed = owing.flatMap((grant) => {
    const returnedAt = lineOf(account.catalogue, facts, grant)?.money.returnedAt;
    return returnedAt ? [{ tokens: grant.clawDebtTokens, returnedAt }] : [];
  });
  return (at) =>
    owed.reduce((sum, { tokens, returnedAt }) => (isBefore(at, returnedAt) ? sum + tokens : sum), 0);
}

function landPacks(
  account: Account,
  lines: readonly PaidLine[],
  byKey: Map<string, Grant>,
  debtAfter: (at: Date) => number,
  done: string[],
): void {
  for (const line of lines) {
    if (line.kind !== 'pack' || line.offer === null || byKey.has(line.key)) continue;
    const pack = account.catalogue.packs[line.offer];
    if (!pack || line.quantity < 1) continue;
    const grant = account.grant({
      key: line.key,
      source: 'top_up',
      tokens: pack.credits * TOKENS_PER_CREDIT * line.quantity,
      effectiveAt: line.paidAt,
      laterDebtTokens: debtAfter(line.paidAt),
      expiresAt: null,
      details: {
        offer: line.offer,
        reason: `Pack ${line.offer}`,
        checkoutSessionId: line.paymentId,
        costBasisMinor: line.amountMinor,
        currency: line.currency,
      },
    });
    byKey.set(line.key, grant);
    done.push(`${line.key} granted`);
  }
}

/** @returns what has landed now */
function landWindows(
  account: Account,
  agreement: Agreement,
  byKey: Map<string, Grant>,
  debtAfter: (at: Date) => number,
  done: string[],
): Landing[] {
  const { subscription, landings } = agreement;
  const landed: Landing[] = [];
  if (landings.length === 0) return landed;
  withholdSuperseded(account, agreement);
  for (const landing of landings) {
    if (byKey.has(landing.key) || !isDue(account, agreement, landing)) continue;
    const grant = land(account, landing, debtAfter);
    if (!grant) continue;
    byKey.set(landing.key, grant);
    done.push(`${landing.key} granted`);
    landed.push(landing);
  }
  replaceEarlier(account, allowancesOf(account, subscription.id), landings, byKey);
  return landed;
}

/**
 * A month of a year that landed before we heard of the change that had taken it over: that change's line gives it, so
 * what is left of the month goes.
 */
function withholdSuperseded(account: Account, { subscription, keys }: Agreement): void {
  for (const grant of allowancesOf(account, subscription.id)) {
    if (!keys.has(grant.key)) withhold(account, grant, 'Another line has paid for this window');
  }
}

/** A paid line gives its first window in any case; the months of a year as long as the subscription goes on. */
function isDue(
  account: Account,
  { subscription, paidEnd }: Agreement,
  { key, line, window }: Landing,
): boolean {
  if (key === line.key) return true;
  if (!hasCome(window.start, account.now)) return false;
  if (hasEnded(subscription))
    return subscription.endedAt !== null && isBefore(window.start, subscription.endedAt);
  return isEntitled(account.catalogue, subscription, paidEnd, account.now);
}

/** Allowances of the free plan and of one given by hand end before paid ones land. */
function leaveOtherPlans(account: Account, plan: string | null): void {
  for (const grant of openAllowances(account)) {
    if (grant.subscriptionId !== null) continue;
    if (grant.offer === FREE_PLAN) withhold(account, grant, `Changed to ${plan}`);
    else account.takeOut(grant, 'voided', `Changed to ${plan}`);
  }
}

/** Makes the plan that of `current`; without one, a user who had a subscription is on the free plan's clock. */
function applyPlan(
  account: Account,
  current: Agreement | undefined,
  byKey: ReadonlyMap<string, Grant>,
  done: string[],
): void {
  const { user } = account;
  if (!current) {
    if (user.currentSubscriptionId === null) return;
    done.push(`free after ${user.currentSubscriptionId}`);
    putOnFreeClock(account);
    return;
  }
  const { subscription, paidEnd } = current;
  const plan = subscription.plan ?? user.subscriptionTier;
  enterWindow(account, current, byKey);
  if (user.subscriptionTier !== plan) done.push(plan);
  user.currentSubscriptionId = subscription.id;
  user.subscriptionTier = plan;
  user.isSubscribed = true;
  user.isMetered = planDefinition(account.catalogue, plan).overage === 'meter';
  user.subscriptionEndsAt = subscription.cancelAt ?? paidEnd ?? subscription.currentPeriodEnd;
  user.accessEndsAt = accessEndsAt(account.catalogue, subscription, paidEnd);
}

/**
 * The window of counting is the newest that was paid for and has landed; until then the one that Stripe says. Asked of
 * the lines and not of the grants: a month that landed before we heard of the change that took it over had other bounds.
 */
function enterWindow(
  account: Account,
  { subscription, landings }: Agreement,
  byKey: ReadonlyMap<string, Grant>,
): void {
  const { user } = account;
  const isNew = user.currentSubscriptionId !== subscription.id;
  const newest = newestLanded(landings, byKey)?.window;
  const start = newest?.start ?? (isNew ? subscription.currentPeriodStart : user.monthlyResetDate);
  const end = newest?.end ?? (isNew ? firstWindowEnd(subscription) : user.periodEnd);
  if (isNew) user.periodAnchor = subscription.currentPeriodStart;
  if (isNew || start.getTime() !== user.monthlyResetDate.getTime()) user.monthlyTokensUsed = 0;
  user.monthlyResetDate = start;
  user.periodEnd = end;
}

function firstWindowEnd(subscription: SubscriptionState): Date {
  return subscription.interval === 'year'
    ? addMonths(subscription.currentPeriodStart, 1)
    : subscription.currentPeriodEnd;
}

/**
 * Credits of a subscription that does not count are withheld: one that has ended, or one beside the one that counts.
 * Frozen ones (paused, unpaid) are kept until they expire.
 */
function giveOrWithhold(account: Account, agreement: Agreement, current: Agreement | undefined): void {
  const { subscription, keys, trialsAgain } = agreement;
  const isOver =
    hasEnded(subscription) || (subscription.cancelAt !== null && hasCome(subscription.cancelAt, account.now));
  const isOther = current !== undefined && current !== agreement;
  for (const grant of allowancesOf(account, subscription.id)) {
    if (isOver) withhold(account, grant, 'The subscription has ended');
    else if (isOther) withhold(account, grant, 'Another subscription decides the plan');
    else if (trialsAgain.has(grant.invoiceLineId ?? ''))
      withhold(account, grant, 'A second trial of the plan');
    else if (keys.has(grant.key)) restore(account, grant, 'The subscription counts again');
  }
}

function clawBack(account: Account, facts: Facts, byKey: Map<string, Grant>, done: string[]): void {
  const isPaidBack = facts.lines.some(({ money }) => returnedMinor(money) > 0);
  for (const grant of byKey.values()) {
    if (!isPaidBack && grant.clawTargetTokens === 0) continue;
    const line = lineOf(account.catalogue, facts, grant);
    if (!line) continue;
    const target = clawTarget(line, grant.amountTokens);
    if (target === grant.clawTargetTokens) continue;
    done.push(`${grant.key}: ${target} of ${grant.amountTokens} tokens paid back`);
    const reason = target > 0 ? 'The payment went back' : 'The payment came back';
    setClawTarget(account, grant, target, reason, line.money.returnedAt);
  }
}
