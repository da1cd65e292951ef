/**
 * Taking tokens back after a payment refund or a dispute, and giving back exactly those. A grant has one absolute
 * target; whatever order facts arrive in, the same target ends in the same grant (stripe.md B7). Pure.
 *
 * amount = spent (consumed, held, settled debt) + expired + voided + clawed + remaining. A clawback covers its target
 * with what has left unused anyway, then with what remains; only what was spent becomes debt, and the next grant
 * settles that first.
 */
import { type Account, isPast, part } from './account.ts';
import type { Part } from './burn.ts';
import type { Grant } from './model.ts';

/**
 * @param targetTokens of all that this grant gave; 0 restores it
 * @param returnedAt when the money went back
 */
export function setClawTarget(
  account: Account,
  grant: Grant,
  targetTokens: number,
  reason: string,
  returnedAt?: Date | null,
): void {
  if (grant.clawTargetTokens === targetTokens) return;
  const owedBefore = grant.clawDebtTokens;
  grant.clawTargetTokens = targetTokens;
  account.changedGrants.add(grant);
  settleClawback(account, grant, reason);
  if (returnedAt) settleDebtLate(account, returnedAt, grant.clawDebtTokens - owedBefore);
}

/** Stripe's times are cut to the second. */
const SECOND_MS = 1000;

/** Grants that landed after the money had gone back, and before we heard of it, settle the debt as they would have then. */
function settleDebtLate(account: Account, returnedAt: Date, newDebtTokens: number): void {
  const { user } = account;
  let left = newDebtTokens;
  const later = account
    .openGrants()
    .filter(({ effectiveAt }) => effectiveAt.getTime() >= returnedAt.getTime() + SECOND_MS)
    .sort((a, b) => a.effectiveAt.getTime() - b.effectiveAt.getTime());
  for (const grant of later) {
    const tokens = Math.min(left, user.debtTokens, grant.remainingTokens);
    if (tokens <= 0) continue;
    left -= tokens;
    grant.remainingTokens -= tokens;
    grant.settledDebtTokens += tokens;
    user.availableTokens -= tokens;
    user.debtTokens -= tokens;
    account.touch(grant);
    const key = `claw:${grant.id}:${user.lastSeq + 1}`;
    const cause = { key, reason: 'Settles the debt of a payment that had gone back before' };
    account.append('refunded', 0, [part(grant, -tokens)], cause).debtDeltaTokens = -tokens;
  }
}

/** Makes what was taken and what is owed agree with the target; does nothing where they do. */
export function settleClawback(account: Account, grant: Grant, reason: string): void {
  const { clawTargetTokens: target, clawedTokens: clawed, remainingTokens: remaining } = grant;
  const unused = grant.expiredTokens + grant.voidedTokens;
  const owed = Math.max(0, target - unused - clawed - remaining);
  const taken = Math.min(remaining, Math.max(0, target - owed - clawed - unused));
  const given = Math.max(0, clawed + owed - target);
  const owedMore = owed - grant.clawDebtTokens;
  if (taken === 0 && given === 0 && owedMore === 0) return;
  const { user } = account;
  // Debt that a later grant has settled meanwhile goes back to that grant.
  const debtChange = Math.max(owedMore, -user.debtTokens);
  const moved = given - taken;
  grant.clawedTokens -= moved;
  grant.clawDebtTokens += debtChange;
  grant.remainingTokens += moved;
  if (moved > 0) grant.closedAt = null;
  user.availableTokens += moved;
  user.debtTokens += debtChange;
  account.touch(grant);
  const cause = { key: `claw:${grant.id}:${user.lastSeq + 1}`, reason };
  const parts = moved === 0 ? [] : [part(grant, moved)];
  account.append('voided', moved - debtChange, parts, cause).debtDeltaTokens = debtChange;
  returnSettledDebt(account, grant, debtChange - owedMore);
  if (given > 0) settleReturned(account, grant);
}

/** @param tokens of debt of `owing` that is void although later grants have paid it */
function returnSettledDebt(account: Account, owing: Grant, tokens: number): void {
  if (tokens === 0) return;
  const settlers = [...account.grants.values()]
    .filter((grant) => grant.settledDebtTokens > 0)
    .sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime() || (a.id < b.id ? 1 : -1));
  const parts: Part[] = [];
  let left = tokens;
  for (const settler of settlers) {
    const back = Math.min(left, settler.settledDebtTokens);
    if (back === 0) break;
    left -= back;
    settler.settledDebtTokens -= back;
    account.add(settler, back);
    parts.push(part(settler, back));
  }
  if (left > 0) throw new Error(`${left} tokens of settled debt belong to no grant that is loaded.`);
  owing.clawDebtTokens -= tokens;
  const key = `claw:${owing.id}:${account.user.lastSeq + 1}`;
  account.append('refunded', tokens, parts, { key, reason: 'Debt that it settled is void' });
  for (const back of parts) settleReturned(account, account.grantOf(back.grantId));
}

/** What came back to a grant that has expired or was voided leaves again; a clawback that lacked it takes it. */
export function settleReturned(account: Account, grant: Grant): void {
  if (grant.remainingTokens > 0 && grant.voidedAt !== null) {
    account.takeOut(grant, 'voided', 'Returned to a grant that was voided');
  } else if (grant.remainingTokens > 0 && isPast(grant, account.now)) {
    account.takeOut(grant, 'expired', 'Returned to a grant that had expired');
  }
  if (grant.clawTargetTokens > 0) settleClawback(account, grant, 'Returned to a grant that was paid back');
}

/** Voids what is left of a grant for as long as its subscription does not count. */
export function withhold(account: Account, grant: Grant, reason: string): void {
  if (grant.isWithheld || grant.voidedAt !== null || (isClosedFor(grant) && grant.remainingTokens === 0))
    return;
  account.takeOut(grant, 'voided', reason);
  grant.isWithheld = true;
}

/** An expired grant has nothing more to lose. */
function isClosedFor(grant: Grant): boolean {
  return grant.closedAt !== null && isPast(grant, grant.closedAt);
}

/** Gives a withheld grant back what was taken of it, unless its time is over. */
export function restore(account: Account, grant: Grant, reason: string): void {
  if (!grant.isWithheld || isPast(grant, account.now)) return;
  const tokens = grant.voidedTokens;
  grant.isWithheld = false;
  grant.voidedAt = null;
  grant.voidedTokens = 0;
  grant.closedAt = null;
  account.add(grant, tokens);
  if (tokens > 0) {
    const key = `restored:${grant.id}:${account.user.lastSeq + 1}`;
    account.append('voided', tokens, [part(grant, tokens)], { key, reason });
  }
  settleReturned(account, grant);
}
