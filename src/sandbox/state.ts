import type {
  ActiveEntitlement,
  BalanceTransaction,
  Charge,
  CheckoutLineItem,
  CheckoutSession,
  Coupon,
  CreditNote,
  Customer,
  CustomerBalanceTransaction,
  Discount,
  Dispute,
  Feature,
  Invoice,
  InvoiceItem,
  InvoiceLine,
  InvoicePayment,
  PaymentIntent,
  PaymentMethod,
  PortalConfiguration,
  PortalSession,
  Price,
  Product,
  ProductFeature,
  PromotionCode,
  Refund,
  SandboxEvent,
  SetupIntent,
  Subscription,
  SubscriptionSchedule,
  TestClock,
  WebhookEndpoint,
} from './wire.ts';

/** How an attempt to charge ends; set per test card and, above it, per customer by the control API. */
export type PaymentOutcome =
  | 'succeeds'
  | 'card_declined'
  | 'insufficient_funds'
  | 'lost_card'
  | 'stolen_card'
  | 'expired_card'
  | 'incorrect_cvc'
  | 'processing_error'
  | 'requires_action';

export interface CardBehaviour {
  attach: PaymentOutcome;
  charge: PaymentOutcome;
  /** Once a person has authenticated, off-session charges of this card go through. */
  authenticatedAfterSetup?: boolean;
  dispute?: 'chargeback' | 'inquiry';
  /** A refund that is announced as done and fails afterwards, or that takes its time. */
  refund?: 'fails' | 'pending';
}

/** What a Checkout session was created with and does not show in its own fields. */
export interface SessionOrder {
  lines: { price: string; quantity: number }[];
  subscription: {
    metadata: Record<string, string>;
    trialDays: number | null;
    missingPaymentMethod: 'cancel' | 'create_invoice' | 'pause';
    description: string | null;
  };
  payment: { metadata: Record<string, string>; description: string | null; saveCard: boolean };
  coupon: string | null;
}

/** A change or a resumption that waits for its payment; its invoice is voided when it expires. */
export interface HeldChange {
  invoice: string;
  changes: Partial<Subscription>;
  expiresAt: number;
  resumes: boolean;
}

export class State {
  readonly customers = new Map<string, Customer>();
  readonly deletedCustomers = new Set<string>();
  readonly paymentMethods = new Map<string, PaymentMethod>();
  readonly products = new Map<string, Product>();
  readonly prices = new Map<string, Price>();
  readonly coupons = new Map<string, Coupon>();
  /** Their discounts go on. */
  readonly deletedCoupons = new Map<string, Coupon>();
  readonly discounts = new Map<string, Discount>();
  readonly promotionCodes = new Map<string, PromotionCode>();
  readonly features = new Map<string, Feature>();
  readonly productFeatures = new Map<string, ProductFeature & { product: string }>();
  /** By customer, as last announced. */
  readonly entitlements = new Map<string, ActiveEntitlement[]>();
  readonly schedules = new Map<string, SubscriptionSchedule>();
  readonly setupIntents = new Map<string, SetupIntent>();
  readonly creditNotes = new Map<string, CreditNote>();
  readonly customerBalanceTransactions = new Map<string, CustomerBalanceTransaction>();
  readonly sessions = new Map<string, CheckoutSession>();
  readonly portalSessions = new Map<string, PortalSession>();
  readonly portalConfigurations = new Map<string, PortalConfiguration>();
  readonly subscriptions = new Map<string, Subscription>();
  readonly invoices = new Map<string, Invoice>();
  readonly invoiceItems = new Map<string, InvoiceItem>();
  readonly invoicePayments = new Map<string, InvoicePayment>();
  readonly paymentIntents = new Map<string, PaymentIntent>();
  readonly charges = new Map<string, Charge>();
  readonly balanceTransactions = new Map<string, BalanceTransaction>();
  readonly refunds = new Map<string, Refund>();
  readonly disputes = new Map<string, Dispute>();
  readonly events = new Map<string, SandboxEvent>();
  readonly webhookEndpoints = new Map<string, WebhookEndpoint>();
  readonly testClocks = new Map<string, TestClock>();

  readonly webhookSecrets = new Map<string, string>();
  /** A secret that goes on signing beside its successor for a while. */
  readonly rollingSecrets = new Map<string, { secret: string; expiresAt: number }>();
  /** The endpoints that the host asked for, in its order. */
  seededEndpoints: string[] = [];
  /** By event: the receivers that have not answered with 2xx. */
  readonly unanswered = new Map<string, string[]>();
  /** Global time of events whose own time is a test clock's. */
  readonly emittedAt = new Map<string, number>();
  /** By test clock: the instant it stands at; behind its target while it advances. */
  readonly clockInstants = new Map<string, number>();
  readonly cardBehaviours = new Map<string, CardBehaviour>();
  readonly customerOutcomes = new Map<string, PaymentOutcome>();
  readonly sessionLineItems = new Map<string, CheckoutLineItem[]>();
  readonly sessionOrders = new Map<string, SessionOrder>();
  /** Delayed payments by session: whether they will succeed. */
  readonly delayedPayments = new Map<string, boolean>();
  readonly invoiceLines = new Map<string, InvoiceLine[]>();
  readonly heldChanges = new Map<string, HeldChange>();
  /** What the dashboard's billing settings say about failed renewals. */
  billing: {
    retryDays: readonly number[];
    afterFinalRetry: 'canceled' | 'unpaid' | 'past_due' | 'paused';
  } = {
    retryDays: [3, 5, 7],
    afterFinalRetry: 'canceled',
  };
}
