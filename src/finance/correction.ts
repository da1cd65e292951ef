/** Tokens that a grant gave too many or too few, set right by a new entry: what was written is never edited. */
import { type Account, part } from '../domain/account.ts';
import type { Grant } from '../domain/model.ts';

/** An entry of this key says that the amount was dealt with. */
export function correctionKey({ id }: Pick<Grant, 'id'>, shouldTokens: number): string {
  return `correct:${id}:${shouldTokens}`;
}

/** @returns what was done, in words */
export function correctAmount(account: Account, grant: Grant, shouldTokens: number): string {
  const key = correctionKey(grant, shouldTokens);
  const missing = shouldTokens - grant.amountTokens;
  if (missing > 0) {
    const reason = `Grant ${grant.id} gave ${missing} tokens too few`;
    account.grant({
      key,
      source: 'adjustment',
      tokens: missing,
      expiresAt: grant.expiresAt,
      details: { reason },
    });
    return reason;
  }
  const taken = Math.min(-missing, grant.remainingTokens);
  const reason = `Grant ${grant.id} gave ${-missing} tokens too many, ${taken} of them unspent`;
  grant.remainingTokens -= taken;
  grant.voidedTokens += taken;
  account.user.availableTokens -= taken;
  account.touch(grant);
  account.append('voided', 0 - taken, [part(grant, 0 - taken)], { key, reason });
  return reason;
}
