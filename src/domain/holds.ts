/** Reserve, then settle: holds move tokens aside inside the grants that would burn now. */
import type { Account } from './account.ts';
import { mergeParts, type Part, sumOfParts } from './burn.ts';
import { settleReturned } from './clawback.ts';
import type { Cause, Hold, Outcome } from './model.ts';

export type HoldInput = Omit<Hold, 'parts' | 'status' | 'capturedTokens' | 'settledAt' | 'createdAt'>;

/**
 * Reserved tokens outlive the expiry of their grant until the hold is settled.
 * @returns undefined where the balance is too small
 */
export function placeHold(account: Account, input: HoldInput): Hold | undefined {
  const { user } = account;
  if (input.tokens > user.availableTokens && !user.isMetered) return undefined;
  const parts = account.burn(Math.min(input.tokens, user.availableTokens));
  for (const reserved of parts) account.grantOf(reserved.grantId).heldTokens += reserved.tokens;
  user.heldTokens += sumOfParts(parts);
  const hold: Hold = {
    ...input,
    parts,
    status: 'open',
    capturedTokens: null,
    settledAt: null,
    createdAt: account.now,
  };
  account.holds.set(hold.id, hold);
  account.changedHolds.add(hold);
  return hold;
}

/** Consumes any amount from 0; above the hold the rest comes from the balance, else nothing changes. */
export function captureHold(account: Account, hold: Hold, tokens: number, cause: Cause): Outcome {
  const { user } = account;
  const held = sumOfParts(hold.parts);
  const beyond = Math.max(0, tokens - held);
  if (beyond > user.availableTokens && !user.isMetered) return { ok: false, requiredTokens: tokens };
  const consumed: Part[] = [];
  let left = Math.min(tokens, held);
  for (const reserved of hold.parts) {
    const taken = Math.min(left, reserved.tokens);
    left -= taken;
    if (taken > 0) consumed.push({ ...reserved, tokens: taken });
    unhold(account, reserved, taken);
  }
  consumed.push(...account.burn(Math.min(beyond, user.availableTokens)));
  const entry = tokens === 0 ? null : account.appendConsumption(tokens, mergeParts(consumed), cause, hold.id);
  settle(account, hold, 'captured', tokens);
  return { ok: true, entry };
}

export function releaseHold(account: Account, hold: Hold, status: 'released' | 'expired'): void {
  for (const reserved of hold.parts) unhold(account, reserved, 0);
  settle(account, hold, status, null);
}

/** Gives back the part of a reservation that is not consumed. */
function unhold(account: Account, reserved: Part, consumedTokens: number): void {
  const grant = account.grantOf(reserved.grantId);
  grant.heldTokens -= reserved.tokens;
  account.user.heldTokens -= reserved.tokens;
  account.add(grant, reserved.tokens - consumedTokens);
}

function settle(account: Account, hold: Hold, status: Hold['status'], capturedTokens: number | null): void {
  hold.status = status;
  hold.capturedTokens = capturedTokens;
  hold.settledAt = account.now;
  account.changedHolds.add(hold);
  for (const reserved of hold.parts) settleReturned(account, account.grantOf(reserved.grantId));
}
