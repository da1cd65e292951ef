/** Columns of the tables behind an account, and how a row becomes what the domain knows. */
import { z } from 'zod';
import type { GrantSource } from '../domain/burn.ts';
import type { Entry, Grant, Hold, UserState } from '../domain/model.ts';

export interface UserRow extends UserState {
  headGrantId: string | null;
  /** Of that grant. */
  headSource: GrantSource | null;
  headRemainingTokens: number;
}

const userColumns: Record<keyof UserRow, string> = {
  id: 'id',
  availableTokens: 'available_tokens',
  heldTokens: 'held_tokens',
  debtTokens: 'debt_tokens',
  totalTokensUsed: 'total_tokens_used',
  monthlyTokensUsed: 'monthly_tokens_used',
  monthlyResetDate: 'monthly_reset_date',
  periodEnd: 'period_end',
  periodAnchor: 'period_anchor',
  freeAllowanceStart: 'free_allowance_start',
  isSubscribed: 'is_subscribed',
  subscriptionTier: 'subscription_tier',
  subscriptionEndsAt: 'subscription_ends_at',
  accessEndsAt: 'access_ends_at',
  currentSubscriptionId: 'current_subscription_id',
  stripeCustomerId: 'stripe_customer_id',
  isMetered: 'is_metered',
  headGrantId: 'head_grant_id',
  headSource: 'head_source',
  headRemainingTokens: 'head_remaining_tokens',
  lastSeq: 'last_seq',
  nextDueAt: 'next_due_at',
  createdAt: 'created_at',
};

export const grantColumns: Record<keyof Grant, string> = {
  id: 'id',
  key: 'key',
  source: 'source',
  amountTokens: 'amount_tokens',
  remainingTokens: 'remaining_tokens',
  heldTokens: 'held_tokens',
  priority: 'priority',
  effectiveAt: 'effective_at',
  expiresAt: 'expires_at',
  closedAt: 'closed_at',
  voidedAt: 'voided_at',
  offer: 'offer',
  reason: 'reason',
  costBasisMinor: 'cost_basis_minor',
  currency: 'currency',
  invoiceId: 'invoice_id',
  invoiceLineId: 'invoice_line_id',
  subscriptionId: 'subscription_id',
  subscriptionItemId: 'subscription_item_id',
  windowStart: 'window_start',
  windowEnd: 'window_end',
  windowKind: 'window_kind',
  checkoutSessionId: 'checkout_session_id',
  expiredTokens: 'expired_tokens',
  voidedTokens: 'voided_tokens',
  clawedTokens: 'clawed_tokens',
  clawTargetTokens: 'claw_target_tokens',
  clawDebtTokens: 'claw_debt_tokens',
  settledDebtTokens: 'settled_debt_tokens',
  isWithheld: 'is_withheld',
  createdAt: 'created_at',
};

/** Grant columns that a unit of work may change; the rest is written once. */
export const mutableGrantFields = [
  'remainingTokens',
  'heldTokens',
  'expiresAt',
  'closedAt',
  'voidedAt',
  'expiredTokens',
  'voidedTokens',
  'clawedTokens',
  'clawTargetTokens',
  'clawDebtTokens',
  'settledDebtTokens',
  'isWithheld',
] as const satisfies readonly (keyof Grant)[];

/** The columns of an entry's parts and its request hash have another form than the fields. */
export const entryColumns: Record<Exclude<keyof Entry, 'parts' | 'requestHash'>, string> = {
  seq: 'seq',
  type: 'type',
  tokens: 'tokens',
  balanceAfter: 'balance_after',
  availableAfter: 'available_after',
  totalUsedAfter: 'total_used_after',
  overageTokens: 'overage_tokens',
  debtDeltaTokens: 'debt_delta_tokens',
  key: 'key',
  reason: 'reason',
  feature: 'feature',
  metadata: 'metadata',
  requestId: 'request_id',
  refersToSeq: 'refers_to_seq',
  holdId: 'hold_id',
  createdAt: 'created_at',
};

export const holdColumns: Record<keyof Hold, string> = {
  id: 'id',
  key: 'key',
  tokens: 'tokens',
  parts: 'parts',
  status: 'status',
  feature: 'feature',
  metadata: 'metadata',
  capturedTokens: 'captured_tokens',
  expiresAt: 'expires_at',
  settledAt: 'settled_at',
  createdAt: 'created_at',
};

const selectList = (columns: Record<string, string>): string =>
  Object.entries(columns)
    .map(([field, column]) => `${column} as "${field}"`)
    .join(', ');

export const USER_SELECT = selectList(userColumns);
export const GRANT_SELECT = selectList(grantColumns);
export const HOLD_SELECT = selectList(holdColumns);

/** User columns that a unit of work may change, with their types; the rest is written once. */
const mutableUserTypes = {
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
} as const satisfies Partial<Record<keyof UserRow, string>>;
export type MutableUserField = keyof typeof mutableUserTypes;
export const mutableUserFields = Object.keys(mutableUserTypes) as MutableUserField[];

export function userColumn(field: keyof UserRow): string {
  return userColumns[field];
}

/** As in the column list of a record set. */
export function typedUserColumn(field: MutableUserField): string {
  return `${userColumns[field]} ${mutableUserTypes[field]}`;
}

/** The parts of a hold or an entry as they stand in a JSON column. */
export const partsSchema = z.array(
  z.object({
    grantId: z.string(),
    source: z.enum(['allowance', 'bonus', 'adjustment', 'top_up']),
    tokens: z.int(),
  }),
);
