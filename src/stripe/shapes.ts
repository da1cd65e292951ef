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

/** One payment of an invoice; `payments` comes with expand only. Null until paid. */
const invoicePaymentShape = z.object({
  invoice: ref,
  status: z.string(),
  amount_paid: z.int().nullable(),
  payment: z.object({
    type: z.string(),
    payment_intent: ref.nullish(),
    charge: ref.nullish(),
  }),
});
export type InvoicePaymentShape = z.output<typeof invoicePaymentShape>;
export const parseInvoicePayment = (value: unknown): InvoicePaymentShape => invoicePaymentShape.parse(value);

const invoiceShape = z.object({
  id: z.string(),
  customer: ref.nullable(),
  status: z.string().nullable(),
  billing_reason: z.string().nullable(),
  created: seconds,
  amount_paid: z.int(),
  status_transitions: z.object({ paid_at: seconds.nullable() }),
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
  payment_intent: ref.nullable(),
  amount_total: z.int().nullable(),
  created: seconds,
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

/** What the events of money going back point at: enough to find the payment. */
const chargeShape = z.object({ id: z.string(), payment_intent: ref.nullable(), created: seconds });
export type ChargeShape = z.output<typeof chargeShape>;
export const parseCharge = (value: unknown): ChargeShape => chargeShape.parse(value);

const intentShape = z.object({
  id: z.string(),
  amount_received: z.int(),
  latest_charge: z.union([chargeShape, z.string()]).nullable(),
});
export type IntentShape = z.output<typeof intentShape>;
export const parseIntent = (value: unknown): IntentShape => intentShape.parse(value);

const refundShape = z.object({
  id: z.string(),
  created: seconds,
  amount: z.int(),
  status: z.string().nullable(),
  payment_intent: ref.nullable(),
  charge: ref.nullable(),
});
export type RefundShape = z.output<typeof refundShape>;
export const parseRefund = (value: unknown): RefundShape => refundShape.parse(value);

const disputeShape = z.object({
  id: z.string(),
  created: seconds,
  amount: z.int(),
  status: z.string(),
  payment_intent: ref.nullable(),
  charge: ref.nullable(),
});
export type DisputeShape = z.output<typeof disputeShape>;
export const parseDispute = (value: unknown): DisputeShape => disputeShape.parse(value);

const creditNoteShape = z.object({
  id: z.string(),
  invoice: ref,
  status: z.string(),
  post_payment_amount: z.int(),
  // Those that Stripe lists as refunds as well; what was given back outside Stripe is in no other list.
  refunds: z
    .array(z.object({ amount_refunded: z.int(), type: z.string().nullish() }))
    .transform((refunds) =>
      refunds
        .filter(({ type }) => type !== 'payment_record_refund')
        .reduce((sum, { amount_refunded }) => sum + amount_refunded, 0),
    ),
});
export type CreditNoteShape = z.output<typeof creditNoteShape>;
export const parseCreditNote = (value: unknown): CreditNoteShape => creditNoteShape.parse(value);
