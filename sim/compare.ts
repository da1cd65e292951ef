/** What must be equal however the events came. */

import type { Account } from '../src/domain/account.ts';
import type { Facts } from '../src/domain/agreements.ts';
import { hasCome } from '../src/domain/period.ts';
import { isSame } from './fields.ts';
import { spentOf } from './invariants.ts';

const MONTH_OF_YEAR = /:m\d+$/;

export type Outcome = Record<string, unknown>;

/** @param isSettled no sync is outstanding: months that wait behind another subscription have landed as well */
export function outcomeOf(
  { account, facts }: { account: Account; facts: Facts },
  isSettled: boolean,
): Outcome {
  // What ended does not come back, whether it was withheld or replaced before.
  const live = new Set(facts.subscriptions.filter((one) => one.endedAt === null).map(({ id }) => id));
  const { user, now } = account;
  const outcome: Outcome = {
    plan: user.subscriptionTier,
    subscription: user.currentSubscriptionId,
    nextDueAt: user.nextDueAt.toISOString(),
    accessEndsAt: user.accessEndsAt?.toISOString() ?? null,
    available: user.availableTokens,
    debt: user.debtTokens,
    used: user.totalTokensUsed,
  };
  let freeRemaining = 0;
  for (const grant of account.grants.values()) {
    if (grant.invoiceId === null && grant.checkoutSessionId === null) {
      freeRemaining += grant.remainingTokens;
      continue;
    }
    // A month of a year that landed before its end or its change was heard of stays in the ledger, and nothing of it.
    const isGone = grant.remainingTokens === 0 && grant.clawDebtTokens === 0 && MONTH_OF_YEAR.test(grant.key);
    if (isGone && spentOf(grant) === 0) continue;
    const isOver = grant.expiresAt !== null && hasCome(grant.expiresAt, now);
    outcome[grant.key] = {
      amount: grant.amountTokens,
      remaining: grant.remainingTokens,
      target: grant.clawTargetTokens,
      owed: grant.clawDebtTokens,
      unused: grant.expiredTokens + grant.voidedTokens + grant.clawedTokens,
      withheld: isSettled && !isOver && grant.isWithheld && live.has(grant.subscriptionId ?? ''),
    };
  }
  return { ...outcome, freeRemaining };
}

/** @returns one line per difference */
export function differences(punctual: Outcome, chaotic: Outcome): string[] {
  const keys = new Set([...Object.keys(punctual), ...Object.keys(chaotic)]);
  return [...keys]
    .filter((key) => !isSame(punctual[key], chaotic[key]))
    .map(
      (key) => `${key}: in order ${JSON.stringify(punctual[key])}, in chaos ${JSON.stringify(chaotic[key])}`,
    );
}
