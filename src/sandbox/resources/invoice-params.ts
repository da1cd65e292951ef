import { z } from 'zod';
import {
  cosmetic,
  flag,
  integer,
  metadata,
  notModelled,
  pageParams,
  text,
  timeRange,
  unset,
} from '../http/params.ts';
import { discountParams, noAutomaticTax } from './subscription-params.ts';

const fields = {
  account_tax_ids: notModelled,
  application_fee_amount: notModelled,
  auto_advance: flag.optional(),
  automatic_tax: noAutomaticTax.optional(),
  automatically_finalizes_at: notModelled,
  collection_method: z.enum(['charge_automatically', 'send_invoice']).optional(),
  custom_fields: z.union([unset, z.array(z.strictObject({ name: text, value: text })).max(4)]).optional(),
  days_until_due: integer.optional(),
  default_payment_method: z.union([unset, text]).optional(),
  default_source: notModelled,
  default_tax_rates: notModelled,
  description: z.union([unset, text]).optional(),
  discounts: discountParams.optional(),
  due_date: integer.optional(),
  effective_at: z.union([unset, integer]).optional(),
  footer: z.union([unset, text]).optional(),
  issuer: z.strictObject({ type: z.enum(['self']) }).optional(),
  metadata: metadata.optional(),
  number: z.union([unset, text]).optional(),
  on_behalf_of: notModelled,
  payment_settings: cosmetic,
  rendering: cosmetic,
  shipping_cost: notModelled,
  shipping_details: notModelled,
  statement_descriptor: text.optional(),
  transfer_data: notModelled,
};
export const createParams = z.strictObject({
  ...fields,
  currency: text.optional(),
  customer: text.optional(),
  customer_account: notModelled,
  from_invoice: notModelled,
  pending_invoice_items_behavior: z.enum(['exclude', 'include']).optional(),
  subscription: text.optional(),
});
export const updateParams = z.strictObject(fields);
export const listParams = z.strictObject({
  ...pageParams,
  collection_method: text.optional(),
  created: timeRange.optional(),
  customer: text.optional(),
  due_date: timeRange.optional(),
  status: z.enum(['draft', 'open', 'paid', 'uncollectible', 'void']).optional(),
  subscription: text.optional(),
});
export const payParams = z.strictObject({
  forgive: flag.optional(),
  mandate: notModelled,
  off_session: flag.optional(),
  paid_out_of_band: flag.optional(),
  payment_method: text.optional(),
  source: notModelled,
});
export const notServed = z.looseObject({});
export const finalizeParams = z.strictObject({ auto_advance: flag.optional() });
