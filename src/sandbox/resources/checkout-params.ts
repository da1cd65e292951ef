import { z } from 'zod';
import { flag, integer, metadata, positive, text } from '../http/params.ts';
import { priceDataParams } from './price-params.ts';
import { noAutomaticTax, trialSettings } from './subscription-params.ts';

const productData = z.strictObject({
  name: text,
  description: text.optional(),
  images: z.array(text).optional(),
  metadata: metadata.optional(),
  tax_code: text.optional(),
});

const lineItem = z.strictObject({
  adjustable_quantity: z
    .strictObject({ enabled: flag, maximum: integer.optional(), minimum: integer.optional() })
    .optional(),
  metadata: metadata.optional(),
  price: text.optional(),
  price_data: z
    .strictObject({ ...priceDataParams, product: text.optional(), product_data: productData.optional() })
    .optional(),
  quantity: positive.optional(),
});

const subscriptionData = z.strictObject({
  billing_mode: z.strictObject({ type: z.enum(['flexible']) }).optional(),
  description: text.optional(),
  metadata: metadata.optional(),
  proration_behavior: z.enum(['create_prorations', 'none']).optional(),
  trial_end: integer.optional(),
  trial_period_days: positive.optional(),
  trial_settings: trialSettings.optional(),
});

const paymentIntentData = z.strictObject({
  description: text.optional(),
  metadata: metadata.optional(),
  receipt_email: text.optional(),
  setup_future_usage: z.enum(['off_session', 'on_session']).optional(),
  shipping: z.looseObject({}).optional(),
});

export const createParams = z.strictObject({
  allow_promotion_codes: flag.optional(),
  allowed_payment_method_types: z.array(text).optional(),
  automatic_tax: noAutomaticTax.optional(),
  billing_address_collection: z.enum(['auto', 'required']).optional(),
  cancel_url: text.optional(),
  client_reference_id: z.string().max(200).optional(),
  currency: text.optional(),
  customer: text.optional(),
  customer_creation: z.enum(['always', 'if_required']).optional(),
  customer_email: text.optional(),
  customer_update: z
    .strictObject({ address: text.optional(), name: text.optional(), shipping: text.optional() })
    .optional(),
  discounts: z.array(z.strictObject({ coupon: text.optional(), promotion_code: text.optional() })).optional(),
  excluded_payment_method_types: z.array(text).optional(),
  expires_at: integer.optional(),
  line_items: z.array(lineItem).min(1),
  locale: text.optional(),
  metadata: metadata.optional(),
  mode: z.enum(['payment', 'setup', 'subscription']),
  payment_intent_data: paymentIntentData.optional(),
  payment_method_collection: z.enum(['always', 'if_required']).optional(),
  payment_method_types: z.array(text).optional(),
  return_url: text.optional(),
  submit_type: z.enum(['auto', 'book', 'donate', 'pay', 'subscribe']).optional(),
  subscription_data: subscriptionData.optional(),
  success_url: text.optional(),
  ui_mode: z.enum(['elements', 'embedded_page', 'form', 'hosted_page']).optional(),
});

export type CreateParams = z.output<typeof createParams>;
