/** The one place where what a paid line buys becomes a grant, and where a subscription's earlier windows end. Pure. */
import { type Account, isPast } from './account.ts';
import { setClawTarget } from './clawback.ts';
import type { Grant } from './model.ts';
import { clawTarget } from './paid-lines.ts';
import { addDays, isBefore, isSameTime } from './period.ts';
import { planDefinition, TOKENS_PER_CREDIT } from './plans.ts';
import type { Landing } from './windows.ts';

/** The allowances that one subscription gave, whatever became of them. */
export function allowancesOf(account: Account, subscriptionId: string): Grant[] {
  return account.grantsThat(
    (grant) => grant.subscriptionId === subscriptionId && grant.source === 'allowance',
  );
}

/**
 * The windows before it end first, so that the balance never shows both.
 * @param debtAfter what is owed since a time, which a grant that was there before does not settle
 * @returns null where this window has had as much already
 */
export function land(
  account: Account,
  landing: Landing,
  debtAfter: (at: Date) => number = () => 0,
): Grant | null {
  const { line, window, offer } = landing;
  const had = grantsOfWindow(account, landing);
  const tokens = Math.min(landing.tokens, landing.windowTokens - tokensKept(had));
  if (tokens <= 0) return null;
  const effectiveAt = new Date(Math.max(line.paidAt.getTime(), window.start.getTime()));
  const expiresAt = addDays(window.end, planDefinition(account.catalogue, offer).graceDays);
  const isInPlace = ({ windowKind, windowStart }: Grant): boolean =>
    windowKind === 'full' && windowStart?.getTime() === window.start.getTime();
  const isRest = landing.kind === 'delta' || had.some(isInPlace);
  if (!isRest) {
    const earlier = allowancesOf(account, line.subscriptionId ?? '');
    const newest = newestWindow(earlier)?.windowStart ?? null;
    if (newest === null || isBefore(newest, window.start))
      endEarlier(account, earlier, { ...window, offer, expiresAt });
  }
  const grant = account.grant({
    key: landing.key,
    source: 'allowance',
    tokens,
    effectiveAt,
    laterDebtTokens: debtAfter(effectiveAt),
    expiresAt,
    details: {
      offer,
      reason: isRest ? `Change to ${line.quantity} × ${offer}` : `Allowance of ${offer}`,
      invoiceId: line.paymentId,
      invoiceLineId: line.lineId,
      subscriptionId: line.subscriptionId,
      subscriptionItemId: line.itemId,
      costBasisMinor: landing.costBasisMinor,
      currency: line.currency,
      windowStart: window.start,
      windowEnd: window.end,
      windowKind: isRest ? 'delta' : 'full',
    },
  });
  setClawTarget(account, grant, clawTarget(line, grant.amountTokens), 'The payment went back');
  return grant;
}

/** All that landed for the window of `landing`, or in its place. */
export function grantsOfWindow(account: Account, { line, window }: Landing): Grant[] {
  return account.grantsThat(
    ({ subscriptionItemId, windowStart, windowEnd }) =>
      subscriptionItemId === line.itemId &&
      (isSameTime(windowStart, window.start) || isSameTime(windowEnd, window.end)),
  );
}

/**
 * What a window has had and has not left it unused. Landings do not change once they are due, so this only holds back
 * where facts were missing: a month landed before its change was heard of, a catalogue was mended, two payments came in
 * one second.
 */
export function tokensKept(grants: readonly Grant[]): number {
  return grants.reduce(
    (sum, { amountTokens, expiredTokens, voidedTokens, clawedTokens }) =>
      sum + amountTokens - expiredTokens - voidedTokens - clawedTokens,
    0,
  );
}

/** The newest window that a subscription's lines have given. */
export function newestWindow(allowances: readonly Grant[]): Grant | undefined {
  let newest: Grant | undefined;
  for (const grant of allowances) {
    if (grant.windowKind !== 'full' || grant.windowStart === null) continue;
    if (!newest?.windowStart || isBefore(newest.windowStart, grant.windowStart)) newest = grant;
  }
  return newest;
}

/** The newest window that lines have paid for and that has landed, in place of another's month as well. */
export function newestLanded(
  landings: readonly Landing[],
  byKey: ReadonlyMap<string, Grant>,
): Landing | undefined {
  return landings.findLast(({ kind, key }) => kind === 'full' && byKey.has(key));
}

/**
 * Ends what a subscription gave for windows before its newest, a line that was heard of late included. Asked of the
 * lines: a month that landed before we heard of the line that took it over may begin later than that line's window.
 */
export function replaceEarlier(
  account: Account,
  allowances: readonly Grant[],
  landings: readonly Landing[],
  byKey: ReadonlyMap<string, Grant>,
): void {
  const newest = newestLanded(landings, byKey);
  const grant = newest && byKey.get(newest.key);
  if (!newest || !grant) return;
  const { window, offer } = newest;
  endEarlier(account, allowances, { start: window.start, offer, expiresAt: grant.expiresAt });
}

/** All but what the plan rolls over. */
function endEarlier(
  account: Account,
  allowances: readonly Grant[],
  next: { start: Date; offer: string; expiresAt: Date | null },
): void {
  const { rollover } = planDefinition(account.catalogue, next.offer);
  let kept = rollover === 'none' ? 0 : rollover.cappedCredits * TOKENS_PER_CREDIT;
  const earlier = allowances
    .filter(({ windowStart }) => windowStart !== null && isBefore(windowStart, next.start))
    .filter((grant) => !isPast(grant, account.now))
    .sort((a, b) => Number(b.windowStart) - Number(a.windowStart));
  for (const grant of earlier) {
    const carried = grant.offer === next.offer ? Math.min(kept, grant.remainingTokens) : 0;
    kept -= carried;
    if (carried > 0) carry(account, grant, carried, next.expiresAt);
    else endWindow(account, grant);
  }
}

function carry(account: Account, grant: Grant, tokens: number, expiresAt: Date | null): void {
  if (tokens < grant.remainingTokens) account.expireExcess(grant, tokens, 'Above what the plan rolls over');
  if (grant.expiresAt?.getTime() === expiresAt?.getTime()) return;
  grant.expiresAt = expiresAt;
  account.changedGrants.add(grant);
}

function endWindow(account: Account, grant: Grant): void {
  if (!grant.isWithheld) {
    account.takeOut(grant, 'expired', 'Replaced by the next allowance');
    return;
  }
  // It has nothing to lose now, and is not to come back.
  grant.expiresAt = account.now;
  account.changedGrants.add(grant);
}
