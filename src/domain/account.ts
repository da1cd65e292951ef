/**
 * One user's ledger in memory: what may happen to it and the entries that say so. Pure: time and ids are passed in;
 * store/account.ts loads it under the user's row lock and writes what changed. Every method keeps invariants I1-I3
 * (docs/credits.md): balance = available + held − debt = the sum of all entries.
 */
import { compareBurnOrder, negated, type Part, splitOverGrants, sumOfParts } from './burn.ts';
import type { Cause, Entry, EntryType, Grant, GrantInput, Hold, Outcome, UserState } from './model.ts';
import { hasCome } from './period.ts';
import type { Catalogue } from './plans.ts';

/** Why a grant ended whose time had come. */
export const EXPIRED_BY_TIME = 'Reached its expiry';

export class Account {
  readonly entries: Entry[] = [];
  /** Grants that are not stored yet; in changedGrants as well. */
  readonly newGrants = new Set<Grant>();
  readonly changedGrants = new Set<Grant>();
  readonly changedHolds = new Set<Hold>();
  readonly grants = new Map<string, Grant>();
  readonly holds = new Map<string, Hold>();
  private readonly byKey = new Map<string, Grant>();

  constructor(
    readonly user: UserState,
    grants: readonly Grant[],
    holds: readonly Hold[],
    readonly catalogue: Catalogue,
    /** The instant at which things happen; roll.ts moves it along the due dates. */
    public now: Date,
    readonly newGrantId: () => string,
  ) {
    for (const grant of grants) this.grants.set(grant.id, grant);
    for (const hold of holds) this.holds.set(hold.id, hold);
  }

  get balance(): number {
    return this.user.availableTokens + this.user.heldTokens - this.user.debtTokens;
  }

  /** Grants that may burn or hold tokens, in burn order. */
  openGrants(): Grant[] {
    return this.grantsThat((grant) => grant.closedAt === null).sort(compareBurnOrder);
  }

  /** Keys are unique per user, and no grant ever leaves. */
  grantsByKey(): Map<string, Grant> {
    const { byKey, grants } = this;
    if (byKey.size < grants.size) for (const grant of grants.values()) byKey.set(grant.key, grant);
    return byKey;
  }

  grantsThat(suit: (grant: Grant) => boolean): Grant[] {
    const found: Grant[] = [];
    for (const grant of this.grants.values()) if (suit(grant)) found.push(grant);
    return found;
  }

  grant(input: GrantInput): Grant {
    const debt = Math.max(0, this.user.debtTokens - (input.laterDebtTokens ?? 0));
    const settledDebt = Math.min(debt, input.tokens);
    const grant = newGrant(this.newGrantId(), input, this.now);
    grant.remainingTokens -= settledDebt;
    grant.settledDebtTokens = settledDebt;
    this.grants.set(grant.id, grant);
    this.newGrants.add(grant);
    this.user.availableTokens += grant.remainingTokens;
    this.user.debtTokens -= settledDebt;
    this.append('granted', input.tokens, [part(grant, grant.remainingTokens)], {
      reason: grant.reason,
      ...input.cause,
      key: input.key,
    }).debtDeltaTokens = -settledDebt;
    this.touch(grant);
    if (isPast(grant, this.now)) this.takeOut(grant, 'expired', 'The window was over when it was granted');
    return grant;
  }

  /** All or nothing; a metered plan takes what there is and records the rest as overage. */
  consume(tokens: number, cause: Cause): Outcome {
    if (tokens > this.user.availableTokens && !this.user.isMetered)
      return { ok: false, requiredTokens: tokens };
    const parts = this.burn(Math.min(tokens, this.user.availableTokens));
    return { ok: true, entry: this.appendConsumption(tokens, parts, cause) };
  }

  /** Takes what remains out of a grant and closes it. Held tokens stay until their hold is settled. */
  takeOut(
    grant: Grant,
    type: 'expired' | 'voided',
    reason: string,
    cause?: Omit<Cause, 'reason'>,
  ): Entry | null {
    const tokens = grant.remainingTokens;
    grant.remainingTokens = 0;
    grant.closedAt = this.now;
    if (type === 'voided') {
      grant.voidedAt ??= this.now;
      grant.voidedTokens += tokens;
    } else {
      if (!isPast(grant, this.now)) grant.expiresAt = this.now;
      grant.expiredTokens += tokens;
    }
    this.user.availableTokens -= tokens;
    this.changedGrants.add(grant);
    if (tokens === 0) return null;
    const key = cause?.key ?? `${type}:${grant.id}:${this.user.lastSeq + 1}`;
    return this.append(type, -tokens, [part(grant, -tokens)], { ...cause, key, reason });
  }

  /** Expires all but `keptTokens`; the grant stays open. */
  expireExcess(grant: Grant, keptTokens: number, reason: string): void {
    const tokens = grant.remainingTokens - keptTokens;
    grant.remainingTokens = keptTokens;
    grant.expiredTokens += tokens;
    this.user.availableTokens -= tokens;
    this.changedGrants.add(grant);
    const key = `expired:${grant.id}:${this.user.lastSeq + 1}`;
    this.append('expired', -tokens, [part(grant, -tokens)], { key, reason });
  }

  /** Takes exactly `tokens` out of the open grants, in burn order. The caller writes the entry, or holds them. */
  burn(tokens: number): Part[] {
    const parts = splitOverGrants(this.openGrants(), tokens);
    if (sumOfParts(parts) !== tokens) {
      throw new Error(
        `Ledger of user is inconsistent: ${tokens} tokens to burn, ${sumOfParts(parts)} in open grants.`,
      );
    }
    for (const taken of parts) {
      const grant = this.grantOf(taken.grantId);
      grant.remainingTokens -= taken.tokens;
      this.user.availableTokens -= taken.tokens;
      this.touch(grant);
    }
    return parts;
  }

  /** The entry of tokens that `parts` have paid for, and of the overage where they pay for less. */
  appendConsumption(tokens: number, parts: Part[], cause: Cause, holdId: string | null = null): Entry {
    this.user.totalTokensUsed += tokens;
    this.user.monthlyTokensUsed += tokens;
    const taken = sumOfParts(parts);
    const entry = this.append('consumed', 0 - taken, parts.map(negated), cause);
    entry.overageTokens = tokens - taken;
    entry.holdId = holdId;
    return entry;
  }

  /** Puts tokens back into a grant. */
  add(grant: Grant, tokens: number): void {
    grant.remainingTokens += tokens;
    this.user.availableTokens += tokens;
    if (tokens > 0) grant.closedAt = null;
    this.touch(grant);
  }

  /** Notes the change; closes what is used up. An allowance stays open until its successor, to show "of how many". */
  touch(grant: Grant): void {
    this.changedGrants.add(grant);
    const isUsedUp = grant.remainingTokens === 0 && grant.heldTokens === 0;
    if (isUsedUp && grant.source !== 'allowance') grant.closedAt ??= this.now;
  }

  grantOf(id: string): Grant {
    const grant = this.grants.get(id);
    if (!grant) throw new Error(`Grant ${id} was not loaded with its account.`);
    return grant;
  }

  append(type: EntryType, tokens: number, parts: Part[], cause: Cause): Entry {
    this.user.lastSeq += 1;
    const entry: Entry = {
      seq: this.user.lastSeq,
      type,
      tokens,
      balanceAfter: this.balance,
      availableAfter: this.user.availableTokens,
      totalUsedAfter: this.user.totalTokensUsed,
      overageTokens: 0,
      debtDeltaTokens: 0,
      parts,
      key: cause.key,
      reason: cause.reason ?? null,
      feature: cause.feature ?? null,
      metadata: cause.metadata ?? null,
      requestHash: cause.requestHash ?? null,
      requestId: cause.requestId ?? null,
      refersToSeq: null,
      holdId: null,
      createdAt: this.now,
    };
    this.entries.push(entry);
    return entry;
  }
}

/** Field by field: put together of other objects it would take a hundred times as long. */
export function newGrant(
  id: string,
  { key, source, tokens, effectiveAt, expiresAt, details }: GrantInput,
  now: Date,
): Grant {
  return {
    id,
    key,
    source,
    amountTokens: tokens,
    remainingTokens: tokens,
    heldTokens: 0,
    priority: 50,
    effectiveAt: effectiveAt ?? now,
    expiresAt,
    createdAt: now,
    closedAt: null,
    voidedAt: null,
    offer: details?.offer ?? null,
    reason: details?.reason ?? null,
    costBasisMinor: details?.costBasisMinor ?? null,
    currency: details?.currency ?? null,
    invoiceId: details?.invoiceId ?? null,
    invoiceLineId: details?.invoiceLineId ?? null,
    subscriptionId: details?.subscriptionId ?? null,
    subscriptionItemId: details?.subscriptionItemId ?? null,
    windowStart: details?.windowStart ?? null,
    windowEnd: details?.windowEnd ?? null,
    windowKind: details?.windowKind ?? null,
    checkoutSessionId: details?.checkoutSessionId ?? null,
    expiredTokens: 0,
    voidedTokens: 0,
    clawedTokens: 0,
    clawTargetTokens: 0,
    clawDebtTokens: 0,
    settledDebtTokens: 0,
    isWithheld: false,
  };
}

export function isPast(grant: Grant, now: Date): boolean {
  return grant.expiresAt !== null && hasCome(grant.expiresAt, now);
}

export function part(grant: Grant, tokens: number): Part {
  return { grantId: grant.id, source: grant.source, tokens };
}
