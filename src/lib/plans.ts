/** Plan changes without Stripe, and the catalogue. */
import type { Context } from '../context.ts';
import type { Account } from '../domain/account.ts';
import { enterFreePlan, enterManualPlan, landManualAllowance, voidAllowances } from '../domain/allowance.ts';
import { addDays } from '../domain/period.ts';
import { creditsOf, FREE_PLAN, TOKENS_PER_CREDIT } from '../domain/plans.ts';
import { invalidField, TollgateError } from '../errors.ts';
import { withAccount } from '../store/account.ts';
import { recordAudit } from '../store/audit.ts';
import { MAX_PERIOD_DAYS, requireInteger } from './limits.ts';
import { type Answer, accountOptions, type ChangeRequest, once } from './requests.ts';
import { planDays, refuseUnknownPlan } from './users.ts';

export interface PlanInput {
  userId: string;
  plan: string;
  periodDays?: number | undefined;
  effective?: 'now' | 'period_end' | undefined;
}

/**
 * @throws TollgateError `conflict` where Stripe decides the plan, or the user has that plan already
 */
export function changePlan(context: Context, input: PlanInput, request: ChangeRequest): Promise<Answer> {
  refuseUnknownPlan(context, input.plan);
  return withAccount(accountOptions(context), input.userId, (account, tx) =>
    once(tx, { userId: input.userId, now: account.now }, request, async () => {
      refuseStripePlan(account);
      if (input.effective === 'period_end') endAtPeriodEnd(account, input.plan);
      else changeNow(context, account, input, request);
      await recordAudit(tx, {
        actor: request.actor,
        action: 'change_plan',
        userId: input.userId,
        subject: input.plan,
        reason: input.effective ?? 'now',
        now: account.now,
      });
      return { status: 200, body: planView(account) };
    }),
  );
}

function changeNow(context: Context, account: Account, input: PlanInput, request: ChangeRequest): void {
  if (account.user.subscriptionTier === input.plan) {
    throw new TollgateError('conflict', `The user has the plan ${input.plan} already.`);
  }
  if (input.plan === FREE_PLAN) {
    voidAllowances(account, 'Changed to free');
    enterFreePlan(account);
    return;
  }
  const periodDays = planDays(context, input.plan, input.periodDays);
  enterManualPlan(account, { plan: input.plan, key: `plan:${request.key}`, periodDays });
}

function endAtPeriodEnd(account: Account, plan: string): void {
  const { user } = account;
  if (plan !== FREE_PLAN)
    throw invalidField('effective', 'only a change to free can wait for the period end');
  if (!user.isSubscribed) throw new TollgateError('conflict', 'The user has no paid plan to end.');
  user.subscriptionEndsAt ??= user.periodEnd;
  user.accessEndsAt ??= user.periodEnd;
}

/** A plan that Stripe bills for is changed in Stripe, or the two would disagree. */
function refuseStripePlan(account: Account): void {
  if (account.user.currentSubscriptionId === null) return;
  throw new TollgateError('conflict', 'A Stripe subscription decides this plan: use the billing routes.');
}

/** Pays a manual plan for `periodDays` more: the next allowance lands now, the end moves on. */
export function extendPlan(
  context: Context,
  { userId, periodDays }: { userId: string; periodDays: number },
  request: ChangeRequest,
): Promise<Answer> {
  return withAccount(accountOptions(context), userId, (account, tx) =>
    once(tx, { userId, now: account.now }, request, async () => {
      requireInteger('periodDays', periodDays, { min: 1, max: MAX_PERIOD_DAYS });
      refuseStripePlan(account);
      const { user, now } = account;
      if (!user.isSubscribed)
        throw new TollgateError('conflict', 'The user has no paid plan to renew: upgrade first.');
      const end = addDays(user.subscriptionEndsAt ?? now, periodDays);
      user.subscriptionEndsAt = end;
      user.accessEndsAt = end;
      landManualAllowance(account, `renew:${request.key}`, { start: now, end });
      return { status: 200, body: planView(account) };
    }),
  );
}

/** Ends a paid plan that has lapsed; that is the lazy roll, asked for by name. */
export async function expirePlan(
  context: Context,
  userId: string,
): Promise<{ expired: boolean; plan: string }> {
  return withAccount(accountOptions(context), userId, (account) => ({
    expired: account.entries.some((entry) => entry.type === 'expired') && !account.user.isSubscribed,
    plan: account.user.subscriptionTier,
  }));
}

export function planView(account: Account): Record<string, unknown> {
  const { user } = account;
  return {
    userId: user.id,
    plan: user.subscriptionTier,
    isSubscribed: user.isSubscribed,
    subscriptionTier: user.subscriptionTier,
    subscriptionEndsAt: user.subscriptionEndsAt?.toISOString() ?? null,
    credits: creditsOf(user.availableTokens),
    availableTokens: user.availableTokens,
    nextResetAt: user.periodEnd.toISOString(),
  };
}

/** The catalogue as callers see it. */
export function catalogueView({ catalogue }: Context): Record<string, unknown> {
  return {
    tokensPerCredit: TOKENS_PER_CREDIT,
    plans: Object.entries(catalogue.plans).map(([plan, definition]) => ({
      plan,
      creditsPerPeriod: definition.creditsPerPeriod,
      tokensPerPeriod: definition.creditsPerPeriod * TOKENS_PER_CREDIT,
      reset: definition.reset,
      rollover: definition.rollover,
      overage: definition.overage,
      graceDays: definition.graceDays,
      priceLookupKey: definition.prices.monthly ?? null,
      annualPriceLookupKey: definition.prices.annual ?? null,
    })),
    packs: Object.entries(catalogue.packs).map(([pack, { credits, price }]) => ({
      pack,
      credits,
      tokens: credits * TOKENS_PER_CREDIT,
      priceLookupKey: price,
    })),
    features: Object.entries(catalogue.features).map(([feature, { credits }]) => ({
      feature,
      credits,
      tokens: credits * TOKENS_PER_CREDIT,
    })),
  };
}
