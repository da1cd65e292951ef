import { z } from 'zod';
import { cosmetic, flag, integer, metadata, notModelled, positive, text } from '../http/params.ts';
import { priceDataParams } from './price-params.ts';
import { billingMode, noAutomaticTax, trialSettings } from './subscription-params.ts';

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
  application_fee_percent: notModelled,
  billing_cycle_anchor: notModelled,
  billing_cycle_anchor_config: notModelled,
  default_tax_rates: notModelled,
  invoice_settings: cosmetic,
  on_behalf_of: notModelled,
  pending_invoice_item_interval: notModelled,
  transfer_data: notModelled,
  billing_mode: billingMode.optional(),
  description: text.optional(),
  metadata: metadata.optional(),
  proration_behavior: z.enum(['create_prorations', 'none']).optional(),
  trial_end: integer.optional(),
  trial_period_days: positive.optional(),
  trial_settings: trialSettings.optional(),
});

const paymentIntentData = z.strictObject({
  application_fee_amount: notModelled,
  capture_method: notModelled,
  on_behalf_of: notModelled,
  statement_descriptor: cosmetic,
  statement_descriptor_suffix: cosmetic,
  transfer_data: notModelled,
  transfer_group: cosmetic,
  description: text.optional(),
  metadata: metadata.optional(),
  receipt_email: text.optional(),
  setup_future_usage: z.enum(['off_session', 'on_session']).optional(),
  shipping: z.looseObject({}).optional(),
});

const setupIntentData = z.strictObject({
  description: text.optional(),
  metadata: metadata.optional(),
  on_behalf_of: notModelled,
});

export const createParams = z.strictObject({
  adaptive_pricing: cosmetic,
  after_expiration: notModelled,
  allow_promotion_codes: flag.optional(),
  allowed_payment_method_types: z.array(text).optional(),
  automatic_tax: noAutomaticTax.optional(),
  billing_address_collection: z.enum(['auto', 'required']).optional(),
  branding_settings: cosmetic,
  cancel_url: text.optional(),
  client_reference_id: z.string().max(200).optional(),
  consent_collection: notModelled,
  currency: text.optional(),
  custom_fields: notModelled,
  custom_text: cosmetic,
  customer: text.optional(),
  customer_account: notModelled,
  customer_creation: z.enum(['always', 'if_required']).optional(),
  customer_email: text.optional(),
  customer_update: z
    .strictObject({ address: text.optional(), name: text.optional(), shipping: text.optional() })
    .optional(),
  discounts: z
    .array(z.strictObject({ coupon: text.optional(), promotion_code: text.optional() }))
    .max(1)
    .optional(),
  excluded_payment_method_types: z.array(text).optional(),
  expires_at: integer.optional(),
  integration_identifier: cosmetic,
  invoice_creation: z.strictObject({ enabled: z.enum(['false']), invoice_data: cosmetic }).optional(),
  line_items: z.array(lineItem).optional(),
  locale: text.optional(),
  managed_payments: notModelled,
  metadata: metadata.optional(),
  mode: z.enum(['payment', 'setup', 'subscription']),
  name_collection: notModelled,
  optional_items: notModelled,
  origin_context: cosmetic,
  payment_intent_data: paymentIntentData.optional(),
  payment_method_collection: z.enum(['always', 'if_required']).optional(),
  payment_method_configuration: notModelled,
  payment_method_data: cosmetic,
  payment_method_options: cosmetic,
  payment_method_types: z.array(text).optional(),
  permissions: notModelled,
  phone_number_collection: z.strictObject({ enabled: flag }).optional(),
  redirect_on_completion: z.enum(['always', 'if_required', 'never']).optional(),
  return_url: text.optional(),
  saved_payment_method_options: cosmetic,
  setup_intent_data: setupIntentData.optional(),
  shipping_address_collection: notModelled,
  shipping_options: notModelled,
  submit_type: z.enum(['auto', 'book', 'donate', 'pay', 'subscribe']).optional(),
  subscription_data: subscriptionData.optional(),
  success_url: text.optional(),
  tax_id_collection: notModelled,
  ui_mode: z.enum(['elements', 'embedded_page', 'form', 'hosted_page']).optional(),
  wallet_options: cosmetic,
});

export type CreateParams = z.output<typeof createParams>;
