/** The seed's functions about users and their plans. */
import { FREE_PLAN, TOKENS_PER_CREDIT } from '../domain/plans.ts';
import { currentContext, currentUser } from './current.ts';
import { grantCredits } from './grants.ts';
import { changePlan, expirePlan, extendPlan } from './plans.ts';
import { libraryRequest } from './requests.ts';
import type { WriteOptions } from './usage.ts';
import { readSubscription, readUsage, signUp, type UsageData } from './users.ts';

const PRO_PLAN = 'pro';

/** Creates the user with the allowance of the plan; for a known user nothing is granted twice. */
export async function initializeUserOnSignup(
  userId: string,
  { isPro = false, email, name }: { isPro?: boolean; email?: string; name?: string } = {},
): Promise<UsageData> {
  const context = currentContext();
  await signUp(context, { userId, email, name, plan: isPro ? PRO_PLAN : FREE_PLAN });
  return readUsage(context, userId);
}

/**
 * Pro for `days` from now, without Stripe: the rest of the free allowance is voided, 100 credits land.
 * @throws TollgateError `conflict` where the user is pro already, or Stripe decides the plan
 */
export async function upgradeUserToPro(
  userId: string,
  days = 30,
  { key }: WriteOptions = {},
): Promise<UsageData> {
  const context = currentContext();
  const input = { userId, plan: PRO_PLAN, periodDays: days };
  await changePlan(context, input, libraryRequest('upgrade', key, input));
  return readUsage(context, userId);
}

/** Free from now: what is left of the paid allowance is voided; bonus credits and packs stay. */
export async function downgradeUserToFree(userId: string, { key }: WriteOptions = {}): Promise<UsageData> {
  const context = currentContext();
  const input = { userId, plan: FREE_PLAN };
  await changePlan(context, input, libraryRequest('downgrade', key, input));
  return readUsage(context, userId);
}

/** @returns what the user can spend afterwards */
export async function grantBonusCredits(
  userId: string,
  credits: number,
  { key, reason = 'Bonus', expiresAt }: WriteOptions & { reason?: string; expiresAt?: Date } = {},
): Promise<UsageData> {
  const context = currentContext();
  const input = { userId, tokens: credits * TOKENS_PER_CREDIT, source: 'bonus' as const, reason, expiresAt };
  await grantCredits(context, input, libraryRequest('grant', key, input));
  return readUsage(context, userId);
}

/** Pays a plan without Stripe for `days` more: the next allowance lands now and the end moves on. */
export async function renewSubscription(
  userId: string,
  days = 30,
  { key }: WriteOptions = {},
): Promise<UsageData> {
  const context = currentContext();
  const input = { userId, periodDays: days };
  await extendPlan(context, input, libraryRequest('renew', key, input));
  return readUsage(context, userId);
}

/** Ends a plan that has lapsed. It would end at the next touch anyway; this is the touch. */
export function checkSubscriptionExpiry(userId?: string): Promise<{ expired: boolean; plan: string }> {
  return expirePlan(currentContext(), currentUser(userId));
}

export function getSubscriptionStatus(userId?: string): Promise<Record<string, unknown>> {
  return readSubscription(currentContext(), currentUser(userId));
}
