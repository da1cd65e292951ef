/** Giving credits back. Money that Stripe gives back is clawback.ts. */
import { type Account, part } from './account.ts';
import type { Part } from './burn.ts';
import { settleReturned } from './clawback.ts';
import type { Cause, Consumption, Entry } from './model.ts';

/**
 * Gives back `tokens` of a consumption to the grants they came from, last burnt first. What returns to a grant that
 * has expired or was voided leaves again at once. The caller has checked that so much is still to be given back.
 */
export function refundConsumption(
  account: Account,
  consumption: Consumption,
  tokens: number,
  cause: Cause,
): Entry {
  const parts: Part[] = [];
  let skip = consumption.refundedTokens;
  let left = tokens;
  let overage = 0;
  const taken: Part[] = [...consumption.parts].reverse();
  for (const from of [{ grantId: null, tokens: consumption.overageTokens }, ...taken]) {
    const skipped = Math.min(skip, from.tokens);
    const back = Math.min(left, from.tokens - skipped);
    skip -= skipped;
    left -= back;
    if (back === 0) continue;
    if (from.grantId === null) overage = back;
    else parts.push(part(account.grantOf(from.grantId), back));
  }
  for (const back of parts) account.add(account.grantOf(back.grantId), back.tokens);
  account.user.totalTokensUsed -= tokens;
  if (consumption.createdAt >= account.user.monthlyResetDate) {
    account.user.monthlyTokensUsed = Math.max(0, account.user.monthlyTokensUsed - tokens);
  }
  const entry = account.append('refunded', tokens - overage, parts, {
    feature: consumption.feature,
    ...cause,
  });
  entry.overageTokens = overage;
  entry.refersToSeq = consumption.seq;
  for (const back of parts) settleReturned(account, account.grantOf(back.grantId));
  return entry;
}
