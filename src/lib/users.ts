/** Signup, and what there is to read about a user. Reads apply what is due first. */
import type { Context } from '../context.ts';
import { enterFreePlan, enterManualPlan } from '../domain/allowance.ts';
import { compareBurnOrder } from '../domain/burn.ts';
import type { UserState } from '../domain/model.ts';
import { creditsOf, FREE_PLAN } from '../domain/plans.ts';
import { invalidField, notFound } from '../errors.ts';
import { inAccount, withAccount } from '../store/account.ts';
import { listSubscriptions } from '../store/subscriptions.ts';
import { inTransaction } from '../store/transaction.ts';
import {
  findProfile,
  findUser,
  findUserWithGrants,
  insertUser,
  type OpenGrant,
  saveProfile,
} from '../store/users.ts';
import { MAX_PERIOD_DAYS, requireInteger, requireUserId } from './limits.ts';
import { accountOptions } from './requests.ts';

/** How long a paid plan without Stripe lasts when nobody says. */
const DEFAULT_PERIOD_DAYS = 30;

export interface SignupInput {
  userId: string;
  email?: string | undefined;
  name?: string | undefined;
  plan?: string | undefined;
  periodDays?: number | undefined;
}

/**
 * Creates a user with the allowance of the plan; for a known user it fills in the profile and grants nothing.
 * @returns whether the user is new
 */
export function signUp(context: Context, input: SignupInput): Promise<boolean> {
  const plan = input.plan ?? FREE_PLAN;
  requireUserId(input.userId);
  refuseUnknownPlan(context, plan);
  const options = accountOptions(context);
  return inTransaction(context.pool, async (tx) => {
    const isNew = await insertUser(tx, input.userId, options.now);
    if (isNew) {
      await inAccount(tx, options, input.userId, (account) => {
        const key = `signup:${input.userId}`;
        if (plan === FREE_PLAN) enterFreePlan(account, key);
        else enterManualPlan(account, { plan, key, periodDays: planDays(context, plan, input.periodDays) });
      });
    }
    await saveProfile(tx, input.userId, { email: input.email ?? null, name: input.name ?? null });
    return isNew;
  });
}

export function refuseUnknownPlan(context: Context, plan: string): void {
  if (Object.hasOwn(context.catalogue.plans, plan)) return;
  throw invalidField('plan', `unknown; one of ${Object.keys(context.catalogue.plans).join(', ')}`);
}

/** A plan on our clock runs until it is changed; one that is paid for runs for a stretch of days. */
export function planDays(context: Context, plan: string, periodDays: number | undefined): number | null {
  if (periodDays !== undefined)
    return requireInteger('periodDays', periodDays, { min: 1, max: MAX_PERIOD_DAYS });
  return context.catalogue.plans[plan]?.reset === 'clock' ? null : DEFAULT_PERIOD_DAYS;
}

/**
 * The user's row with everything due applied.
 * @throws TollgateError `not_found`
 */
export async function userNow(context: Context, userId: string): Promise<UserState> {
  const user = await findUser(context.pool, userId);
  if (!user) throw notFound('user');
  if (user.nextDueAt > context.clock.now()) return user;
  return withAccount(accountOptions(context), userId, (account) => account.user);
}

export interface UsageData extends Record<string, unknown> {
  credits: number;
  /** Granted for the current period: the allowance and other open grants. */
  totalTokens: number;
  /** Spendable now. */
  availableTokens: number;
  isSubscribed: boolean;
  subscriptionTier: string;
  totalTokensUsed: number;
  monthlyTokensUsed: number;
  monthlyResetDate: string;
  nextResetAt: string;
  subscriptionEndsAt: string | null;
}

export interface ServiceUsage extends UsageData {
  heldTokens: number;
  balances: { grantId: string; source: string; remainingTokens: number; expiresAt: string | null }[];
}

export async function readUsage(context: Context, userId: string): Promise<ServiceUsage> {
  const { user, grants: unordered } = await userWithGrants(context, userId);
  const grants = unordered.sort(compareBurnOrder);
  return {
    ...usageData(user, grants),
    heldTokens: user.heldTokens,
    balances: grants
      .filter((grant) => grant.remainingTokens > 0)
      .map((grant) => ({
        grantId: grant.id,
        source: grant.source,
        remainingTokens: grant.remainingTokens,
        expiresAt: grant.expiresAt?.toISOString() ?? null,
      })),
  };
}

async function userWithGrants(context: Context, userId: string) {
  const found = await findUserWithGrants(context.pool, userId);
  if (!found) throw notFound('user');
  if (found.user.nextDueAt > context.clock.now()) return found;
  await userNow(context, userId);
  return (await findUserWithGrants(context.pool, userId)) ?? found;
}

function usageData(user: UserState, grants: readonly OpenGrant[]): UsageData {
  return {
    credits: creditsOf(user.availableTokens),
    totalTokens: grants.reduce((total, grant) => total + grant.amountTokens, 0),
    availableTokens: user.availableTokens,
    isSubscribed: user.isSubscribed,
    subscriptionTier: user.subscriptionTier,
    totalTokensUsed: user.totalTokensUsed,
    monthlyTokensUsed: user.monthlyTokensUsed,
    monthlyResetDate: user.monthlyResetDate.toISOString(),
    nextResetAt: user.periodEnd.toISOString(),
    subscriptionEndsAt: user.subscriptionEndsAt?.toISOString() ?? null,
  };
}

export async function readUser(context: Context, userId: string): Promise<Record<string, unknown>> {
  const user = await userNow(context, userId);
  const profile = await findProfile(context.db, userId);
  return {
    userId: user.id,
    email: profile.email,
    name: profile.name,
    plan: user.subscriptionTier,
    isSubscribed: user.isSubscribed,
    subscriptionTier: user.subscriptionTier,
    subscriptionEndsAt: user.subscriptionEndsAt?.toISOString() ?? null,
    credits: creditsOf(user.availableTokens),
    availableTokens: user.availableTokens,
    heldTokens: user.heldTokens,
    debtTokens: user.debtTokens,
    totalTokensUsed: user.totalTokensUsed,
    stripeCustomerId: user.stripeCustomerId,
    createdAt: user.createdAt.toISOString(),
  };
}

export async function readSubscription(context: Context, userId: string): Promise<Record<string, unknown>> {
  const user = await userNow(context, userId);
  const subscriptions = await listSubscriptions(context.pool, userId);
  const current = subscriptions.find((subscription) => subscription.id === user.currentSubscriptionId);
  const shown = current ?? subscriptions.at(-1);
  return {
    userId: user.id,
    plan: user.subscriptionTier,
    isSubscribed: user.isSubscribed,
    subscriptionTier: user.subscriptionTier,
    subscriptionEndsAt: user.subscriptionEndsAt?.toISOString() ?? null,
    accessEndsAt: user.accessEndsAt?.toISOString() ?? null,
    stripeCustomerId: user.stripeCustomerId,
    stripeSubscriptionId: shown?.id ?? null,
    status: shown?.status ?? null,
    isCurrent: current !== undefined,
    interval: shown?.interval ?? null,
    quantity: shown?.quantity ?? null,
    currentPeriodStart: shown?.currentPeriodStart.toISOString() ?? null,
    currentPeriodEnd: shown?.currentPeriodEnd.toISOString() ?? null,
    cancelAt: shown?.cancelAt?.toISOString() ?? null,
    canceledAt: shown?.canceledAt?.toISOString() ?? null,
    endedAt: shown?.endedAt?.toISOString() ?? null,
    trialEnd: shown?.trialEnd?.toISOString() ?? null,
  };
}
