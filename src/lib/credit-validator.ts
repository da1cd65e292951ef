/** The seed's helpers for routes: results instead of exceptions where credits are missing. */
import { TollgateError } from '../errors.ts';
import type { ConsumeResult, Cost } from './credits.ts';
import { checkUserCredits, consumeCredits, getUsageStatus, type WriteOptions } from './usage.ts';
import type { UsageData } from './users.ts';

export type ValidationResult =
  | { success: true; creditInfo: ConsumeResult }
  | { success: false; status: 429; error: 'Insufficient credits'; detail: string };

/** Checks and consumes in one atomic step. Every other failure is thrown. */
export async function validateAndConsumeCredits(
  userId?: string,
  cost: Cost & WriteOptions = {},
): Promise<ValidationResult> {
  try {
    return { success: true, creditInfo: await consumeCredits(userId, cost) };
  } catch (error) {
    if (!(error instanceof TollgateError) || error.code !== 'insufficient_credits') throw error;
    return { success: false, status: 429, error: 'Insufficient credits', detail: error.message };
  }
}

export function getCreditStatus(userId?: string): Promise<UsageData> {
  return getUsageStatus(userId);
}

/**
 * Express middleware that lets a request pass while the user has credits for it. It reserves nothing: the route
 * itself consumes.
 */
export function validateCredits(cost: Cost = {}) {
  return async (_request: unknown, _response: unknown, next: (error?: unknown) => void): Promise<void> => {
    try {
      const { hasCredits, credits, availableTokens } = await checkUserCredits(undefined, cost);
      if (hasCredits) return next();
      next(
        new TollgateError(
          'insufficient_credits',
          `You have ${credits} credits remaining (${availableTokens} tokens)`,
        ),
      );
    } catch (error) {
      next(error);
    }
  };
}
