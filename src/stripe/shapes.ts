/**
 * The fields we read of Stripe's objects, and nothing else: parsed where they enter, so that a shape that changes fails
 * here by name and not as an Invalid Date in a row. Enums stay strings, because Stripe's may grow.
 */
import { z } from 'zod';

/** An id, or the expanded object that has it. */
const ref = z
  .union([z.string(), z.object({ id: z.string() })])
  .transform((value) => (typeof value === 'string' ? value : value.id));
const seconds = z.int().transform((value) => new Date(value * 1000));
const metadata = z
  .record(z.string(), z.string())
  .nullish()
  .transform((value) => value ?? {});

/** The user whom we wrote on an object when we made it. */
export const USER_METADATA = 'tollgate_user_id';

const priceShape = z.object({
  id: z.string(),
  lookup_key: z.string().nullable(),
  recurring: z.object({ interval: z.string() }).nullable(),
});
export type PriceShape = z.output<typeof priceShape>;
export const parsePrice = (value: unknown): PriceShape => priceShape.parse(value);

const itemShape = z.object({
  id: z.string(),
  price: priceShape,
  quantity: z.int().nullish(),
  current_period_start: seconds,
  current_period_end: seconds,
});
const subscriptionShape = z.object({
  id: z.string(),
  customer: ref,
  status: z.string(),
  created: seconds,
  trial_end: seconds.nullable(),
  cancel_at: seconds.nullable(),
  cancel_at_period_end: z.boolean(),
  canceled_at: seconds.nullable(),
  ended_at: seconds.nullable(),
  latest_invoice: ref.nullable(),
  // Ten items come with the object; no subscription of ours has more than one plan.
  items: z.object({ data: z.array(itemShape).min(1) }),
});
export type SubscriptionShape = z.output<typeof subscriptionShape>;
export const parseSubscription = (value: unknown): SubscriptionShape => subscriptionShape.parse(value);

const invoiceShape = z.object({
  id: z.string(),
  customer: ref.nullable(),
  status: z.string().nullable(),
  billing_reason: z.string().nullable(),
  from_invoice: z.object({ action: z.string() }).nullable(),
  parent: z
    .object({ subscription_details: z.object({ subscription: ref }).nullish() })
    .nullable()
    .transform((parent) => parent?.subscription_details?.subscription ?? null),
});
export type InvoiceShape = z.output<typeof invoiceShape>;
export const parseInvoice = (value: unknown): InvoiceShape => invoiceShape.parse(value);

const lineShape = z.object({
  id: z.string(),
  amount: z.int(),
  subtotal: z.int(),
  currency: z.string(),
  quantity: z.int().nullable(),
  period: z.object({ start: seconds, end: seconds }),
  discount_amounts: z
    .array(z.object({ amount: z.int() }))
    .nullable()
    .transform((discounts) => (discounts ?? []).reduce((sum, { amount }) => sum + amount, 0)),
  pricing: z
    .object({ price_details: z.object({ price: ref }).nullish() })
    .nullable()
    .transform((pricing) => pricing?.price_details?.price ?? null),
  parent: z
    .object({
      subscription_item_details: z
        .object({
          subscription: ref.nullish(),
          subscription_item: z.string().nullish(),
          proration: z.boolean(),
        })
        .nullish(),
      invoice_item_details: z.object({ subscription: ref.nullish(), proration: z.boolean() }).nullish(),
    })
    .nullable(),
});
export type LineShape = z.output<typeof lineShape>;
export const parseLine = (value: unknown): LineShape => lineShape.parse(value);

const sessionShape = z.object({
  id: z.string(),
  customer: ref.nullable(),
  client_reference_id: z.string().nullable(),
  mode: z.string(),
  status: z.string().nullable(),
  payment_status: z.string(),
  subscription: ref.nullable(),
  invoice: ref.nullable(),
  metadata,
  url: z.string().nullable(),
});
export type SessionShape = z.output<typeof sessionShape>;
export const parseSession = (value: unknown): SessionShape => sessionShape.parse(value);

const sessionLineShape = z.object({
  id: z.string(),
  amount_total: z.int(),
  currency: z.string(),
  quantity: z.int().nullable(),
  price: priceShape.nullable(),
});
export type SessionLineShape = z.output<typeof sessionLineShape>;
export const parseSessionLine = (value: unknown): SessionLineShape => sessionLineShape.parse(value);

const customerShape = z.union([
  z
    .object({ id: z.string(), deleted: z.literal(true) })
    .transform(({ id }) => ({ id, isDeleted: true, metadata: {} })),
  z.object({ id: z.string(), metadata }).transform((customer) => ({ ...customer, isDeleted: false })),
]);
export interface CustomerShape {
  id: string;
  isDeleted: boolean;
  metadata: Record<string, string>;
}
export const parseCustomer = (value: unknown): CustomerShape => customerShape.parse(value);
