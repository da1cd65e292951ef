import { DAY, HOUR } from '../calendar.ts';
import { newId } from '../ids.ts';
import { type Customer, countedList, type Invoice, type InvoiceLine, type Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { applyDiscounts } from './discounts.ts';

export interface InvoiceRequest {
  customer: Customer;
  subscription: Subscription | null;
  reason: 'subscription_create' | 'subscription_cycle' | 'subscription_update' | 'manual' | 'upcoming';
  lines: (invoice: string) => InvoiceLine[];
  currency: string;
  periodStart: number;
  periodEnd: number;
  /** Drafts of Stripe's own finalize by themselves an hour later. */
  autoAdvance: boolean;
  discounts?: string[];
  metadata?: Record<string, string>;
  description?: string | null;
  collectionMethod?: 'charge_automatically' | 'send_invoice';
  daysUntilDue?: number | null;
}

function parentOf(subscription: Subscription | null): Invoice['parent'] {
  if (subscription === null) return null;
  return {
    quote_details: null,
    subscription_details: { metadata: { ...subscription.metadata }, subscription: subscription.id },
    type: 'subscription_details',
  };
}

function customerFields(customer: Customer) {
  return {
    customer: customer.id,
    customer_account: null,
    customer_address: customer.address ?? null,
    customer_email: customer.email,
    customer_name: customer.name ?? null,
    customer_phone: customer.phone ?? null,
    customer_shipping: null,
    customer_tax_exempt: customer.tax_exempt ?? 'none',
    customer_tax_ids: [],
  } satisfies Partial<Invoice>;
}

function amountFields(lines: readonly InvoiceLine[], discounts: { amount: number; discount: string }[]) {
  const subtotal = lines.reduce((sum, one) => sum + one.amount, 0);
  const total = subtotal - discounts.reduce((sum, one) => sum + one.amount, 0);
  return {
    amount_due: Math.max(0, total),
    amount_overpaid: 0,
    amount_paid: 0,
    amount_remaining: Math.max(0, total),
    amount_shipping: 0,
    subtotal,
    subtotal_excluding_tax: subtotal,
    total,
    total_discount_amounts: discounts,
    total_excluding_tax: total,
    total_pretax_credit_amounts: discounts.map((one) => ({ ...one, type: 'discount' as const })),
    total_taxes: [],
  } satisfies Partial<Invoice>;
}

/** Features this sandbox does not act on; as Stripe shows them when unused. */
const UNUSED = {
  account_tax_ids: null,
  application: null,
  default_payment_method: null,
  default_source: null,
  default_tax_rates: [],
  custom_fields: null,
  footer: null,
  from_invoice: null,
  last_finalization_error: null,
  latest_revision: null,
  on_behalf_of: null,
  post_payment_credit_notes_amount: 0,
  pre_payment_credit_notes_amount: 0,
  receipt_number: null,
  rendering: null,
  shipping_cost: null,
  shipping_details: null,
  statement_descriptor: null,
} satisfies Partial<Invoice>;

/** A draft's amounts after its lines or discounts have changed. */
export function recompute(world: World, invoice: Invoice, lines: InvoiceLine[]): void {
  for (const line of lines) Object.assign(line, { discount_amounts: [], pretax_credit_amounts: [] });
  const ids = invoice.discounts.map((one) => one);
  Object.assign(invoice, amountFields(lines, applyDiscounts(world, lines, ids)), {
    lines: countedList(lines, `/v1/invoices/${invoice.id}/lines`),
  });
  world.state.invoiceLines.set(invoice.id, lines);
}

function dueDate(now: number, request: InvoiceRequest): number | null {
  const days = request.daysUntilDue ?? request.subscription?.days_until_due ?? null;
  return days === null ? null : now + days * DAY;
}

/** A draft; nothing is announced and nothing is stored, so that previews can use it too. */
export function buildInvoice(
  world: World,
  request: InvoiceRequest,
): { invoice: Invoice; lines: InvoiceLine[] } {
  const { customer, subscription, discounts = [] } = request;
  const id = newId('in');
  const now = world.now();
  const lines = request.lines(id);
  const sent = (request.collectionMethod ?? subscription?.collection_method) === 'send_invoice';
  const invoice = {
    ...UNUSED,
    id,
    object: 'invoice',
    account_country: 'US',
    account_name: 'Tollgate sandbox',
    ...amountFields(lines, applyDiscounts(world, lines, discounts)),
    attempt_count: 0,
    attempted: false,
    auto_advance: request.autoAdvance,
    automatic_tax: { disabled_reason: null, enabled: false, liability: null, provider: null, status: null },
    automatically_finalizes_at: request.autoAdvance ? now + HOUR : null,
    billing_reason: request.reason,
    collection_method: request.collectionMethod ?? subscription?.collection_method ?? 'charge_automatically',
    created: now,
    currency: request.currency,
    ...customerFields(customer),
    description: request.description ?? null,
    discounts,
    due_date: dueDate(now, request),
    effective_at: null,
    ending_balance: null,
    hosted_invoice_url: null,
    invoice_pdf: null,
    issuer: { type: 'self' },
    lines: countedList(lines, `/v1/invoices/${id}/lines`),
    livemode: false,
    metadata: request.metadata ?? {},
    next_payment_attempt: request.autoAdvance && !sent ? now + HOUR : null,
    number: null,
    parent: parentOf(subscription),
    payment_settings: { default_mandate: null, payment_method_options: null, payment_method_types: null },
    period_end: request.periodEnd,
    period_start: request.periodStart,
    starting_balance: customer.balance,
    status: 'draft',
    status_transitions: { finalized_at: null, marked_uncollectible_at: null, paid_at: null, voided_at: null },
    test_clock: customer.test_clock ?? null,
    webhooks_delivered_at: null,
  } satisfies Invoice;
  return { invoice, lines };
}

export function subscriptionOf(world: World, invoice: Invoice): Subscription | undefined {
  return world.state.subscriptions.get(invoice.parent?.subscription_details?.subscription ?? '');
}
