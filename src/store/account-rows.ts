/** Columns of the tables behind an account, and how a row becomes what the domain knows. */
import { z } from 'zod';
import type { GrantSource } from '../domain/burn.ts';
import type { Entry, Grant, Hold, UserState } from '../domain/model.ts';
import { type Columns, columnOf } from './row-sets.ts';

export interface UserRow extends UserState {
  headGrantId: string | null;
  /** Of that grant. */
  headSource: GrantSource | null;
  headRemainingTokens: number;
}

/** User columns that a unit of work may change; the rest is written once. */
export const mutableUserTypes = {
  availableTokens: 'bigint',
  heldTokens: 'bigint',
  debtTokens: 'bigint',
  totalTokensUsed: 'bigint',
  monthlyTokensUsed: 'bigint',
  monthlyResetDate: 'timestamptz',
  periodEnd: 'timestamptz',
  periodAnchor: 'timestamptz',
  freeAllowanceStart: 'timestamptz',
  isSubscribed: 'boolean',
  subscriptionTier: 'text',
  subscriptionEndsAt: 'timestamptz',
  accessEndsAt: 'timestamptz',
  currentSubscriptionId: 'text',
  stripeCustomerId: 'text',
  isMetered: 'boolean',
  headGrantId: 'text',
  headSource: 'grant_source',
  headRemainingTokens: 'bigint',
  lastSeq: 'bigint',
  nextDueAt: 'timestamptz',
} as const satisfies Partial<Columns<keyof UserRow>>;

const userTypes: Columns<keyof UserRow> = { id: 'text', ...mutableUserTypes, createdAt: 'timestamptz' };

/** Grant columns that a unit of work may change; the rest is written once. */
export const mutableGrantTypes = {
  remainingTokens: 'bigint',
  heldTokens: 'bigint',
  expiresAt: 'timestamptz',
  closedAt: 'timestamptz',
  voidedAt: 'timestamptz',
  expiredTokens: 'bigint',
  voidedTokens: 'bigint',
  clawedTokens: 'bigint',
  clawTargetTokens: 'bigint',
  clawDebtTokens: 'bigint',
  settledDebtTokens: 'bigint',
  isWithheld: 'boolean',
} as const satisfies Partial<Columns<keyof Grant>>;

export const grantTypes: Columns<keyof Grant> = {
  id: 'text',
  key: 'text',
  source: 'grant_source',
  amountTokens: 'bigint',
  ...mutableGrantTypes,
  priority: 'smallint',
  effectiveAt: 'timestamptz',
  offer: 'text',
  reason: 'text',
  costBasisMinor: 'bigint',
  currency: 'text',
  invoiceId: 'text',
  invoiceLineId: 'text',
  subscriptionId: 'text',
  subscriptionItemId: 'text',
  windowStart: 'timestamptz',
  windowEnd: 'timestamptz',
  windowKind: 'text',
  checkoutSessionId: 'text',
  createdAt: 'timestamptz',
};

/** `grantId`: of an entry's only part; `parts`: where there are several. */
export const entryTypes: Columns<keyof Entry | 'grantId'> = {
  seq: 'bigint',
  type: 'entry_type',
  tokens: 'bigint',
  balanceAfter: 'bigint',
  availableAfter: 'bigint',
  totalUsedAfter: 'bigint',
  overageTokens: 'bigint',
  debtDeltaTokens: 'bigint',
  grantId: 'text',
  parts: 'jsonb',
  key: 'text',
  requestHash: 'bytea',
  reason: 'text',
  feature: 'text',
  metadata: 'jsonb',
  requestId: 'text',
  refersToSeq: 'bigint',
  holdId: 'text',
  createdAt: 'timestamptz',
};

export const holdTypes: Columns<keyof Hold> = {
  id: 'text',
  key: 'text',
  tokens: 'bigint',
  parts: 'jsonb',
  status: 'hold_status',
  feature: 'text',
  metadata: 'jsonb',
  capturedTokens: 'bigint',
  expiresAt: 'timestamptz',
  settledAt: 'timestamptz',
  createdAt: 'timestamptz',
};

const selectList = (types: object): string =>
  Object.keys(types)
    .map((field) => `${columnOf(field)} as "${field}"`)
    .join(', ');

export const USER_SELECT = selectList(userTypes);
export const GRANT_SELECT = selectList(grantTypes);
export const HOLD_SELECT = selectList(holdTypes);

/** The parts of a hold or an entry as they stand in a JSON column. */
export const partsSchema = z.array(
  z.object({
    grantId: z.string(),
    source: z.enum(['allowance', 'bonus', 'adjustment', 'top_up']),
    tokens: z.int(),
  }),
);
