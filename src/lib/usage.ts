/** The seed's functions about credits. Each takes the user of the current request unless it is told another. */
import { TOKENS_PER_CREDIT } from '../domain/plans.ts';
import { type ConsumeResult, type Cost, check, consume } from './credits.ts';
import { currentContext, currentUser } from './current.ts';
import { libraryRequest } from './requests.ts';
import { readUsage, signUp, type UsageData, userNow } from './users.ts';

export { TOKENS_PER_CREDIT };
/** What the built-in catalogue gives and costs; PLANS_FILE may say otherwise. */
export const FREE_USER_CREDITS = 5;
export const PRO_USER_CREDITS = 100;
export const TOKENS_PER_REQUEST = 2000;

export interface WriteOptions {
  /** One effect per key; without one, one effect per call. */
  key?: string;
}

/** Whether one more request could be paid for. Advisory: consumeCredits decides for itself. */
export async function checkUserCredits(
  userId?: string,
  cost: Cost = {},
): Promise<{
  hasCredits: boolean;
  credits: number;
  availableTokens: number;
  requiredTokens: number;
  resetsAt: string;
}> {
  const { allowed, ...result } = await check(currentContext(), currentUser(userId), cost);
  return { hasCredits: allowed, ...result };
}

/**
 * Takes one credit, or what `cost` says, all or nothing.
 * @throws TollgateError `insufficient_credits`, `not_found`, `idempotency_key_reused`
 */
export async function consumeCredits(
  userId?: string,
  { key, ...cost }: Cost & WriteOptions & { metadata?: Record<string, unknown> } = {},
): Promise<ConsumeResult> {
  const user = currentUser(userId);
  const input = { userId: user, ...cost };
  return (await consume(currentContext(), input, libraryRequest('consume', key, input))).body;
}

export async function getUsageStatus(userId?: string): Promise<UsageData> {
  return readUsage(currentContext(), currentUser(userId));
}

export async function getUserCredits(userId?: string): Promise<{
  credits: number;
  availableTokens: number;
  heldTokens: number;
  totalTokens: number;
  isPro: boolean;
}> {
  const { credits, availableTokens, heldTokens, totalTokens, isSubscribed } = await readUsage(
    currentContext(),
    currentUser(userId),
  );
  return { credits, availableTokens, heldTokens, totalTokens, isPro: isSubscribed };
}

/** Gives a new user the first credits of the plan; a known user gets nothing twice. */
export async function initializeUserCredits(userId: string, isPro = false): Promise<UsageData> {
  const context = currentContext();
  await signUp(context, { userId, plan: isPro ? 'pro' : 'free' });
  return readUsage(context, userId);
}

/**
 * Applies what is due (the monthly reset among it) now rather than at the next touch; where nothing is due it does
 * nothing.
 */
export async function resetMonthlyTokens(
  userId: string,
): Promise<{ monthlyResetDate: Date; nextResetAt: Date }> {
  const user = await userNow(currentContext(), userId);
  return { monthlyResetDate: user.monthlyResetDate, nextResetAt: user.periodEnd };
}
