import type Stripe from 'stripe';

type Decimal = NonNullable<Stripe.Price['unit_amount_decimal']>;
type ApiObject = { id: string; object: string };

export interface WireList<T> {
  object: 'list';
  data: T[];
  has_more: boolean;
  url: string;
  total_count?: number;
}

/** `string | Customer | null` is an id until the caller asks for its expansion. */
type Unexpanded<V> = [Extract<V, string>] extends [never] ? V : Exclude<V, ApiObject>;

type WireValue<V> = V extends string | number | boolean | null | undefined
  ? V
  : V extends Decimal
    ? string
    : V extends { object: 'list'; data: (infer U)[] }
      ? WireList<Wire<U>>
      : V extends readonly (infer U)[]
        ? Wire<U>[]
        : V extends object
          ? { [K in keyof V]: Wire<V[K]> }
          : V;

/**
 * What Stripe puts on the wire for an SDK type: decimals are strings (the SDK revives them, stripe.md A4),
 * references are ids, lists are plain objects. Builders are checked against it, so that a field which
 * the pinned API version requires cannot be forgotten.
 */
export type Wire<T> = WireValue<Unexpanded<T>>;

export type Customer = Wire<Stripe.Customer>;
export type PaymentMethod = Wire<Stripe.PaymentMethod>;
export type Product = Wire<Stripe.Product>;
export type Plan = Wire<Stripe.Plan>;
export type Price = Wire<Stripe.Price>;
export type Coupon = Wire<Stripe.Coupon>;
export type Discount = Wire<Stripe.Discount>;
export type CheckoutSession = Wire<Stripe.Checkout.Session>;
export type CheckoutLineItem = Wire<Stripe.LineItem>;
export type PortalSession = Wire<Stripe.BillingPortal.Session>;
export type PortalConfiguration = Wire<Stripe.BillingPortal.Configuration>;
export type SubscriptionItem = Wire<Stripe.SubscriptionItem>;
/** `plan` and `quantity` are no longer in the reference but still in every answer with one item. */
export type Subscription = Wire<Stripe.Subscription> & { plan: Plan | null; quantity: number | null };
export type Invoice = Wire<Stripe.Invoice>;
export type InvoiceItem = Wire<Stripe.InvoiceItem>;
export type InvoiceLine = Wire<Stripe.InvoiceLineItem>;
export type InvoicePayment = Wire<Stripe.InvoicePayment>;
export type PaymentIntent = Wire<Stripe.PaymentIntent>;
/** The three extra keys are not in the reference but in every recorded answer. */
export type Charge = Wire<Stripe.Charge> & { destination: null; dispute: string | null; order: null };
export type BalanceTransaction = Wire<Stripe.BalanceTransaction>;
export type Refund = Wire<Stripe.Refund>;
export type Dispute = Wire<Stripe.Dispute>;
export type PromotionCode = Wire<Stripe.PromotionCode>;
export type CreditNote = Wire<Stripe.CreditNote>;
export type CreditNoteLine = Wire<Stripe.CreditNoteLineItem>;
export type CustomerBalanceTransaction = Wire<Stripe.CustomerBalanceTransaction>;
export type SetupIntent = Wire<Stripe.SetupIntent>;
export type SubscriptionSchedule = Wire<Stripe.SubscriptionSchedule>;
export type Feature = Wire<Stripe.Entitlements.Feature>;
export type ProductFeature = Wire<Stripe.ProductFeature>;
export type ActiveEntitlement = Wire<Stripe.Entitlements.ActiveEntitlement>;
export type WebhookEndpoint = Wire<Stripe.WebhookEndpoint>;
export type TestClock = Wire<Stripe.TestHelpers.TestClock>;

export interface SandboxEvent {
  id: string;
  object: 'event';
  api_version: string;
  created: number;
  data: { object: object; previous_attributes?: object };
  livemode: false;
  pending_webhooks: number;
  request: { id: string | null; idempotency_key: string | null };
  type: string;
}

export function wireList<T>(data: T[], url: string): WireList<T> {
  return { object: 'list', data, has_more: false, url };
}

/** Lists inside an object (items, lines) carry the count as well [recordings]. */
export function countedList<T>(data: T[], url: string): WireList<T> {
  return {
    object: 'list',
    data: data.slice(0, 10),
    has_more: data.length > 10,
    total_count: data.length,
    url,
  };
}
