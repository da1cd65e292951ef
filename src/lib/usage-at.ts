/** The balance as of an earlier time. */
import type { Context } from '../context.ts';
import { compareBurnOrder } from '../domain/burn.ts';
import { creditsOf } from '../domain/plans.ts';
import { invalidField } from '../errors.ts';
import { findBalanceAt } from '../store/balance-at.ts';
import { type ServiceUsage, userNow } from './users.ts';

export interface UsageAt
  extends Pick<ServiceUsage, 'credits' | 'availableTokens' | 'heldTokens' | 'totalTokensUsed' | 'balances'> {
  at: string;
  debtTokens: number;
}

/**
 * Read off the ledger, whose entries carry the time of business (`context.clock`): what fell due is stamped with its due
 * date however late it was applied, so the answer for a time that has passed does not change any more.
 * @throws TollgateError `not_found`, and `invalid_request` for a time to come or before the user was there
 */
export async function readUsageAt(context: Context, userId: string, at: Date): Promise<UsageAt> {
  const now = context.clock.now();
  // Applies what is due by now, and so what was due by then.
  const { createdAt } = await userNow(context, userId);
  if (at > now) throw invalidField('query.at', `must not be in the future; it is ${now.toISOString()}`);
  if (at < createdAt) {
    throw invalidField('query.at', `must not be before the signup of this user: ${createdAt.toISOString()}`);
  }
  const { balance, totalTokensUsed, grants } = await findBalanceAt(context.pool, userId, at);
  const availableTokens = grants.reduce((total, grant) => total + grant.remainingTokens, 0);
  const heldTokens = grants.reduce((total, grant) => total + grant.heldTokens, 0);
  return {
    at: at.toISOString(),
    credits: creditsOf(availableTokens),
    availableTokens,
    heldTokens,
    debtTokens: availableTokens + heldTokens - balance,
    totalTokensUsed,
    balances: grants
      .filter((grant) => grant.remainingTokens > 0)
      .sort(compareBurnOrder)
      .map((grant) => ({
        grantId: grant.id,
        source: grant.source,
        remainingTokens: grant.remainingTokens,
        expiresAt: grant.expiresAt?.toISOString() ?? null,
      })),
  };
}
