/** Schemas of what callers get. They document and are checked by the tests; no answer is parsed on its way out. */
import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from '../../errors.ts';
import type { RouteResponse } from '../route.ts';

export const tokens = z.int().meta({ description: 'Tokens; 2,000 are a credit.' });
export const credits = z.int().meta({ description: 'Whole credits: floor(tokens / 2000).' });
export const time = z.iso.datetime().meta({ description: 'UTC.' });
export const maybe = <Schema extends z.ZodType>(schema: Schema) => schema.nullable();

export const source = z.enum(['allowance', 'bonus', 'adjustment', 'top_up']);
export const part = z
  .strictObject({ grantId: z.string(), source, tokens })
  .meta({ id: 'Part', description: 'What one grant gave or got back.' });

const ERROR_CODE_NAMES = Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]];

export const problem = z
  .looseObject({
    type: z.url(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    instance: z.string(),
    code: z.enum(ERROR_CODE_NAMES),
    requestId: z.string(),
    errors: z.array(z.strictObject({ path: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: 'Problem', description: 'An error (RFC 9457).' });

export const insufficientCredits = problem
  .extend({
    requiredTokens: tokens,
    availableTokens: tokens,
    heldTokens: tokens,
    credits,
    resetsAt: time,
    upgradeUrl: z.url(),
  })
  .meta({ id: 'InsufficientCredits', description: 'The balance is too small; nothing was taken.' });

const usageFields = {
  credits,
  totalTokens: tokens,
  availableTokens: tokens,
  isSubscribed: z.boolean(),
  subscriptionTier: z.string(),
  totalTokensUsed: tokens,
  monthlyTokensUsed: tokens,
  monthlyResetDate: time,
  nextResetAt: time,
  subscriptionEndsAt: maybe(time),
};

export const seedUsage = z
  .strictObject({ success: z.literal(true), data: z.strictObject(usageFields) })
  .meta({ id: 'OwnUsage' });

const balances = z
  .array(z.strictObject({ grantId: z.string(), source, remainingTokens: tokens, expiresAt: maybe(time) }))
  .meta({ description: 'In burn order.' });

export const serviceUsage = z
  .strictObject({ ...usageFields, heldTokens: tokens, balances })
  .meta({ id: 'Usage' });

export const usageAt = z
  .strictObject({
    at: time,
    credits,
    availableTokens: tokens,
    heldTokens: tokens,
    debtTokens: tokens,
    totalTokensUsed: tokens,
    balances: balances.meta({
      description:
        'In burn order; `expiresAt` as it is known today, which a successor may have brought forward.',
    }),
  })
  .meta({ id: 'UsageAt', description: 'The balance as of then.' });

const creditInfo = z
  .strictObject({ tokensUsed: tokens, creditsRemaining: credits, totalTokensUsed: tokens })
  .meta({ id: 'CreditInfo' });

export const workflowStarted = z
  .strictObject({
    success: z.literal(true),
    workflowStarted: z.literal(true),
    workflowId: z.string(),
    creditInfo,
  })
  .meta({ id: 'WorkflowStarted' });

export const reviewStarted = z
  .strictObject({
    success: z.literal(true),
    reviewStarted: z.literal(true),
    reviewId: z.string(),
    creditInfo,
  })
  .meta({ id: 'ReviewStarted' });

export const workflow = z
  .strictObject({
    workflowId: z.string(),
    kind: z.string(),
    status: z.enum(['pending', 'running', 'succeeded', 'failed']),
    result: maybe(z.record(z.string(), z.unknown())),
    error: maybe(z.string()),
    createdAt: time,
    finishedAt: maybe(time),
  })
  .meta({ id: 'Workflow' });

export const user = z
  .strictObject({
    userId: z.string(),
    email: maybe(z.string()),
    name: maybe(z.string()),
    plan: z.string(),
    isSubscribed: z.boolean(),
    subscriptionTier: z.string(),
    subscriptionEndsAt: maybe(time),
    credits,
    availableTokens: tokens,
    heldTokens: tokens,
    debtTokens: tokens,
    totalTokensUsed: tokens,
    stripeCustomerId: maybe(z.string()),
    createdAt: time,
  })
  .meta({ id: 'User' });

export const subscription = z
  .strictObject({
    userId: z.string(),
    plan: z.string(),
    isSubscribed: z.boolean(),
    subscriptionTier: z.string(),
    subscriptionEndsAt: maybe(time),
    accessEndsAt: maybe(time),
    stripeCustomerId: maybe(z.string()),
    stripeSubscriptionId: maybe(z.string()),
    status: maybe(z.string()),
    isCurrent: z.boolean(),
    interval: maybe(z.string()),
    quantity: maybe(z.int()),
    currentPeriodStart: maybe(time),
    currentPeriodEnd: maybe(time),
    cancelAt: maybe(time),
    canceledAt: maybe(time),
    endedAt: maybe(time),
    trialEnd: maybe(time),
  })
  .meta({ id: 'Subscription' });

export const planChanged = z
  .strictObject({
    userId: z.string(),
    plan: z.string(),
    isSubscribed: z.boolean(),
    subscriptionTier: z.string(),
    subscriptionEndsAt: maybe(time),
    credits,
    availableTokens: tokens,
    nextResetAt: time,
  })
  .meta({ id: 'PlanChange' });

export const ledgerEntry = z
  .strictObject({
    entryId: z.string(),
    type: z.enum(['granted', 'consumed', 'refunded', 'expired', 'voided']),
    tokens: tokens.meta({ description: 'Signed change of the balance.' }),
    balanceAfter: tokens,
    grantId: maybe(z.string()).meta({
      description: 'The grant it touched; null where it touched several or none.',
    }),
    parts: z.array(part).meta({ description: 'Signed change of each grant, in burn order.' }),
    overageTokens: tokens.meta({ description: 'Used beyond the balance by a metered plan.' }),
    feature: maybe(z.string()),
    key: z.string().meta({ description: 'What makes it unique, e.g. `consume:` and the Idempotency-Key.' }),
    reason: maybe(z.string()),
    metadata: maybe(z.record(z.string(), z.unknown())),
    createdAt: time,
  })
  .meta({ id: 'LedgerEntry' });

export const grant = z
  .strictObject({
    grantId: z.string(),
    source,
    tokens,
    credits,
    remainingTokens: tokens,
    heldTokens: tokens,
    expiredTokens: tokens,
    voidedTokens: tokens,
    clawedTokens: tokens.meta({ description: 'Taken back after a payment refund or dispute.' }),
    owedTokens: tokens.meta({ description: 'Of what is to be taken back, the part that had been spent.' }),
    priority: z.int(),
    offer: maybe(z.string()),
    reason: maybe(z.string()),
    effectiveAt: time,
    expiresAt: maybe(time),
    closedAt: maybe(time),
    voidedAt: maybe(time),
    invoiceId: maybe(z.string()),
    invoiceLineId: maybe(z.string()),
    checkoutSessionId: maybe(z.string()),
    costBasisMinor: maybe(z.int()),
    currency: maybe(z.string()),
    key: z.string(),
    createdAt: time,
  })
  .meta({ id: 'Grant' });

export const checked = z
  .strictObject({
    allowed: z.boolean(),
    requiredTokens: tokens,
    availableTokens: tokens,
    credits,
    resetsAt: time,
  })
  .meta({ id: 'Check' });

export const refunded = z
  .strictObject({
    success: z.literal(true),
    entryId: z.string(),
    tokensRefunded: tokens,
    creditsRemaining: credits,
    availableTokens: tokens,
    totalTokensUsed: tokens,
    to: z.array(part),
  })
  .meta({ id: 'Refund' });

export const hold = z
  .strictObject({ holdId: z.string(), tokens, expiresAt: time, availableTokens: tokens })
  .meta({ id: 'Hold' });

export const released = z
  .strictObject({
    success: z.literal(true),
    holdId: z.string(),
    status: z.enum(['released', 'expired']),
    releasedTokens: tokens,
    availableTokens: tokens,
  })
  .meta({ id: 'Release' });

export const catalogue = z
  .strictObject({
    tokensPerCredit: z.int(),
    plans: z.array(
      z.strictObject({
        plan: z.string(),
        creditsPerPeriod: credits,
        tokensPerPeriod: tokens,
        reset: z.enum(['clock', 'invoice']),
        rollover: z.union([z.literal('none'), z.strictObject({ cappedCredits: credits })]),
        overage: z.enum(['block', 'meter']),
        graceDays: z.int(),
        priceLookupKey: maybe(z.string()),
        annualPriceLookupKey: maybe(z.string()),
      }),
    ),
    packs: z.array(z.strictObject({ pack: z.string(), credits, tokens, priceLookupKey: z.string() })),
    features: z.array(z.strictObject({ feature: z.string(), credits, tokens })),
  })
  .meta({ id: 'Catalogue' });

/** A page of a list. */
export function pageOf(item: z.ZodType): z.ZodType {
  return z.strictObject({ data: z.array(item), nextCursor: maybe(z.string()) });
}

/** `ok(schema)` and the like: the line of a route's `responses`. */
export const answers = (description: string, schema: z.ZodType): RouteResponse => ({ description, schema });
