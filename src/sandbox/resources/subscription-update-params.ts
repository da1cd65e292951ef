import { z } from 'zod';
import { cosmetic, flag, integer, metadata, notModelled, positive, text, unset } from '../http/params.ts';
import { itemUpdate } from './subscription-item-params.ts';
import {
  addInvoiceItems,
  cancelAt,
  discountParams,
  invoiceSettings,
  legacyParams,
  noAutomaticTax,
  paymentBehavior,
  paymentSettings,
  prorationBehavior,
  resumesAt,
  trialSettings,
  unmodelledSubscription,
} from './subscription-params.ts';

export const cancellationDetails = z.strictObject({
  comment: z.union([unset, text]).optional(),
  feedback: z
    .union([
      unset,
      z.enum([
        'customer_service',
        'low_quality',
        'missing_features',
        'other',
        'switched_service',
        'too_complex',
        'too_expensive',
        'unused',
      ]),
    ])
    .optional(),
  feedback_option: notModelled,
});

export const prorationParams = {
  payment_behavior: paymentBehavior.optional(),
  proration_behavior: prorationBehavior.optional(),
  proration_date: integer.optional(),
};

export const updateParams = z.strictObject({
  ...legacyParams,
  ...prorationParams,
  ...unmodelledSubscription,
  add_invoice_items: addInvoiceItems.optional(),
  automatic_tax: noAutomaticTax.optional(),
  // A string until endive, an object since (stripe.md A1).
  billing_cycle_anchor: z
    .union([z.enum(['now', 'unchanged']), z.strictObject({ type: z.enum(['now', 'unchanged']) })])
    .optional(),
  cancel_at: z.union([unset, cancelAt, integer]).optional(),
  cancel_at_period_end: flag.optional(),
  cancellation_details: cancellationDetails.optional(),
  collection_method: z.enum(['charge_automatically', 'send_invoice']).optional(),
  days_until_due: positive.optional(),
  default_payment_method: z.union([unset, text]).optional(),
  description: z.union([unset, text]).optional(),
  discounts: discountParams.optional(),
  invoice_settings: invoiceSettings.optional(),
  items: z.array(itemUpdate).optional(),
  metadata: metadata.optional(),
  off_session: flag.optional(),
  pause_collection: z
    .union([
      unset,
      z.strictObject({
        behavior: z.enum(['keep_as_draft', 'mark_uncollectible', 'void']),
        resumes_at: resumesAt,
      }),
    ])
    .optional(),
  payment_settings: paymentSettings.optional(),
  trial_end: z.union([z.literal('now'), integer]).optional(),
  trial_from_plan: cosmetic,
  trial_settings: trialSettings.optional(),
});
export type UpdateParams = z.output<typeof updateParams>;
