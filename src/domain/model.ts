/** The things that a user's ledger is made of, as the pure rules see them. Tokens are safe integers. */
import type { BurnOrdered, GrantSource, Part } from './burn.ts';

export type EntryType = 'granted' | 'consumed' | 'refunded' | 'expired' | 'voided';

export interface Grant extends BurnOrdered {
  key: string;
  amountTokens: number;
  remainingTokens: number;
  /** Reserved by open holds; not part of remainingTokens. */
  heldTokens: number;
  closedAt: Date | null;
  voidedAt: Date | null;
  offer: string | null;
  reason: string | null;
  costBasisMinor: number | null;
  currency: string | null;
  invoiceId: string | null;
  invoiceLineId: string | null;
  subscriptionId: string | null;
  subscriptionItemId: string | null;
  windowStart: Date | null;
  windowEnd: Date | null;
  windowKind: 'full' | 'delta' | null;
  checkoutSessionId: string | null;
  /** What left it unused: by expiry, by a void, by a payment refund or dispute; each net of what came back. */
  expiredTokens: number;
  voidedTokens: number;
  clawedTokens: number;
  /** What payment refunds and disputes take of it in all, and the part of that which was spent and became debt. */
  clawTargetTokens: number;
  clawDebtTokens: number;
  /** What of its amount settled debt when it landed. */
  settledDebtTokens: number;
  /** Voided because its subscription does not count now; restored exactly if it counts again. */
  isWithheld: boolean;
  createdAt: Date;
}

export interface Hold {
  id: string;
  key: string;
  /** What was asked for. A metered plan may hold less: the rest is overage at capture. */
  tokens: number;
  parts: Part[];
  status: 'open' | 'captured' | 'released' | 'expired';
  feature: string | null;
  metadata: Record<string, unknown> | null;
  capturedTokens: number | null;
  expiresAt: Date;
  settledAt: Date | null;
  createdAt: Date;
}

export interface UserState {
  id: string;
  availableTokens: number;
  heldTokens: number;
  debtTokens: number;
  totalTokensUsed: number;
  monthlyTokensUsed: number;
  monthlyResetDate: Date;
  periodEnd: Date;
  periodAnchor: Date;
  freeAllowanceStart: Date | null;
  isSubscribed: boolean;
  subscriptionTier: string;
  subscriptionEndsAt: Date | null;
  accessEndsAt: Date | null;
  currentSubscriptionId: string | null;
  stripeCustomerId: string | null;
  isMetered: boolean;
  lastSeq: number;
  nextDueAt: Date;
  createdAt: Date;
}

/** Who asked, for the entry: kept so that every unit can be explained. */
export interface Cause {
  key: string;
  reason?: string | null;
  feature?: string | null;
  metadata?: Record<string, unknown> | null;
  requestHash?: Buffer | null;
  requestId?: string | null;
}

export interface Entry {
  seq: number;
  type: EntryType;
  tokens: number;
  balanceAfter: number;
  availableAfter: number;
  totalUsedAfter: number;
  overageTokens: number;
  debtDeltaTokens: number;
  /** Signed changes of grants, in order. */
  parts: Part[];
  key: string;
  reason: string | null;
  feature: string | null;
  metadata: Record<string, unknown> | null;
  requestHash: Buffer | null;
  requestId: string | null;
  refersToSeq: number | null;
  holdId: string | null;
  createdAt: Date;
}

/** What a grant says of itself: where it came from and what it is for. */
export type GrantDetails = Pick<
  Grant,
  | 'offer'
  | 'reason'
  | 'costBasisMinor'
  | 'currency'
  | 'invoiceId'
  | 'invoiceLineId'
  | 'checkoutSessionId'
  | 'subscriptionId'
  | 'subscriptionItemId'
  | 'windowStart'
  | 'windowEnd'
  | 'windowKind'
>;

export interface GrantInput {
  key: string;
  source: GrantSource;
  tokens: number;
  /** Of what was bought: since when it is there to be burnt, by the facts and not by when we heard; else now. */
  effectiveAt?: Date;
  /** Debt that arose after `effectiveAt`: this grant settles none of it. */
  laterDebtTokens?: number;
  expiresAt: Date | null;
  details?: Partial<GrantDetails>;
  cause?: Omit<Cause, 'key'>;
}

/** A consumption as it stands in the ledger, with what was given back of it so far. */
export interface Consumption {
  seq: number;
  parts: Part[];
  overageTokens: number;
  refundedTokens: number;
  createdAt: Date;
  feature: string | null;
}

export type Outcome = { ok: true; entry: Entry | null } | { ok: false; requiredTokens: number };
