/** Schemas of the billing routes: Checkout, Portal, changes of plan. */
import { z } from 'zod';
import { subscription } from './answers.ts';
import { catalogueName, oneOf, userId } from './inputs.ts';

const time = z.iso.datetime();
const QUANTITY_MAX = 1_000;

export const checkoutCreated = z
  .strictObject({ sessionId: z.string(), url: z.url() })
  .meta({ id: 'CheckoutSession' });

export const portalCreated = z.strictObject({ url: z.url() }).meta({ id: 'PortalSession' });

export const confirmed = z
  .strictObject({
    status: z.string().nullable(),
    paymentStatus: z.string().nullable(),
    userId: z.string(),
    plan: z.string(),
    credits: z.int(),
    availableTokens: z.int(),
  })
  .meta({ id: 'CheckoutConfirmation' });

export const interval = z.enum(['month', 'year']);

export const effective = z.enum(['now', 'period_end']);

const change = {
  userId,
  interval: interval.optional().meta({ description: 'Without it the present one.' }),
  quantity: z
    .int(`must be a whole number from 1 to ${QUANTITY_MAX}`)
    .min(1, 'must be at least 1')
    .max(QUANTITY_MAX, `must be at most ${QUANTITY_MAX}`)
    .optional()
    .meta({ description: 'Without it the present one.' }),
  effective: effective.optional().meta({
    description: 'Without it: now for an upgrade (longer, or dearer), at the period end for all else.',
  }),
};

export const planChange = z.strictObject({ ...change, plan: catalogueName });

const pendingChange = z
  .strictObject({
    plan: z.string().nullable(),
    interval: z.string().nullable(),
    quantity: z.int(),
    effectiveAt: time,
  })
  .meta({ id: 'PendingChange', description: 'What is to come at the period end.' });

export const subscriptionChanged = subscription
  .extend({ pendingChange: pendingChange.nullable() })
  .meta({ id: 'SubscriptionChange' });

export const previewInput = z
  .strictObject({ ...change, plan: catalogueName.optional(), cancel: z.literal(true).optional() })
  .check(oneOf(['plan', 'cancel'], { needed: true }));

const balance = z.strictObject({
  credits: z.int(),
  availableTokens: z.int(),
  balances: z.array(
    z.strictObject({ source: z.string(), remainingTokens: z.int(), expiresAt: time.nullable() }),
  ),
});

export const previewed = z
  .strictObject({
    userId: z.string(),
    plan: z.string().meta({ description: 'The plan from `effectiveAt` on.' }),
    effectiveAt: time,
    keptUntil: time
      .nullable()
      .meta({ description: 'Plan and credits stay until then; null for a change now.' }),
    money: z.strictObject({
      amountDueMinor: z.int(),
      creditedMinor: z.int().meta({ description: 'Becomes customer balance, which pays later invoices.' }),
      currency: z.string(),
      dueAt: time.nullable(),
      lines: z.array(
        z.strictObject({
          description: z.string().nullable(),
          amountMinor: z.int(),
          quantity: z.int().nullable(),
          start: time,
          end: time,
        }),
      ),
    }),
    credits: z.strictObject({
      before: balance,
      after: balance.meta({ description: 'At `effectiveAt`, if nothing is consumed until then.' }),
      grantedTokens: z.int(),
      voidedTokens: z.int(),
      expiredTokens: z.int(),
    }),
    nextResets: z.array(time),
  })
  .meta({ id: 'ChangePreview' });
