import { z } from 'zod';
import { discountsFor } from '../engine/discounts.ts';
import { buildInvoiceItem, lineOfItem, pendingFor } from '../engine/invoice-items.ts';
import { buildInvoice } from '../engine/invoice-object.ts';
import { unusedTime } from '../engine/proration.ts';
import { cycleLines, renewed } from '../engine/renewal.ts';
import { draftSubscription, firstInvoiceLines, redeemAll } from '../engine/subscription-create.ts';
import { nextShape } from '../engine/subscription-next.ts';
import { periodEnd } from '../engine/subscription-times.ts';
import { changeLines } from '../engine/subscription-update.ts';
import { invalid, StripeError } from '../errors.ts';
import { flag, integer, mergeMetadata, metadata, notModelled, text, unset } from '../http/params.ts';
import type { Invoice, InvoiceItem, InvoiceLine, Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customer-object.ts';
import { itemChanges, itemUpdate, pricedBy } from './subscription-item-params.ts';
import {
  billingMode,
  cancelAt,
  discountParams,
  noAutomaticTax,
  priceData,
  prorationBehavior,
  redemptionsOf,
} from './subscription-params.ts';
import { requestOf } from './subscription-request.ts';
import { findSubscription } from './subscriptions.ts';

const anchorType = z.enum(['now', 'unchanged']);
const details = z.strictObject({
  billing_cycle_anchor: z
    .union([
      anchorType,
      z.strictObject({ type: z.enum(['now', 'unchanged', 'timestamp']), timestamp: integer.optional() }),
    ])
    .optional(),
  billing_mode: billingMode.optional(),
  billing_schedules: notModelled,
  cancel_at: z.union([unset, cancelAt, integer]).optional(),
  cancel_at_period_end: flag.optional(),
  cancel_now: flag.optional(),
  default_tax_rates: notModelled,
  items: z.array(itemUpdate).optional(),
  metadata: metadata.optional(),
  pause: notModelled,
  proration_behavior: prorationBehavior.optional(),
  proration_date: integer.optional(),
  resume_at: notModelled,
  start_date: notModelled,
  trial_end: z.union([z.literal('now'), integer]).optional(),
});

export const previewParams = z.strictObject({
  automatic_tax: noAutomaticTax.optional(),
  currency: text.optional(),
  customer: text.optional(),
  customer_account: notModelled,
  customer_details: notModelled,
  discounts: discountParams.optional(),
  invoice_items: z
    .array(
      z.strictObject({
        amount: integer.optional(),
        currency: text.optional(),
        description: text.optional(),
        discountable: flag.optional(),
        price: text.optional(),
        price_data: priceData.optional(),
        quantity: integer.optional(),
      }),
    )
    .optional(),
  issuer: notModelled,
  on_behalf_of: notModelled,
  preview_mode: z.enum(['next', 'recurring']).optional(),
  schedule: notModelled,
  schedule_details: notModelled,
  subscription: text.optional(),
  subscription_details: details.optional(),
});
type Params = z.output<typeof previewParams>;

function none(customer: string): StripeError {
  return new StripeError(404, 'invalid_request_error', `No upcoming invoices for customer: ${customer}`, {
    code: 'invoice_upcoming_none',
  });
}

/** Runs on a copy of what it may touch, so that redeeming for a look leaves no trace. */
function quietly<T>(world: World, run: () => T): T {
  const { discounts, coupons, promotionCodes, invoiceItems, prices, products } = world.state;
  const maps: Map<string, unknown>[] = [discounts, coupons, promotionCodes, invoiceItems, prices, products];
  const copies = maps.map((map) => new Map([...map].map(([id, value]) => [id, structuredClone(value)])));
  try {
    return run();
  } finally {
    maps.forEach((map, index) => {
      map.clear();
      for (const [id, value] of copies[index] ?? []) map.set(id, value);
    });
  }
}

function extraItems(world: World, params: Params, customer: string): InvoiceItem[] {
  return (params.invoice_items ?? []).map((item, index) => {
    const price = pricedBy(world, item, `invoice_items[${index}]`);
    const now = world.now();
    const quantity = item.quantity ?? 1;
    return buildInvoiceItem(world, {
      customer,
      currency: item.currency ?? price?.currency ?? 'usd',
      amount: item.amount ?? Math.round(Number(price?.unit_amount_decimal ?? 0) * quantity),
      description: item.description ?? null,
      discountable: item.discountable ?? true,
      discounts: [],
      metadata: {},
      period: { start: now, end: now },
      price: price?.id ?? '',
      product: price?.product ?? '',
      unitAmount: price?.unit_amount_decimal ?? null,
      quantity,
      parent: null,
      invoice: null,
      proration: false,
    });
  });
}

interface Look {
  subscription: Subscription;
  reason: 'subscription_update' | 'upcoming' | 'subscription_create';
  lines: (invoice: string) => InvoiceLine[];
  periodStart: number;
  periodEnd: number;
}

function ofNew(world: World, params: Params): Look {
  const {
    items = [],
    billing_cycle_anchor: anchor,
    trial_end,
    proration_behavior,
    cancel_at,
  } = params.subscription_details ?? {};
  if (params.customer === undefined)
    throw invalid('Missing required param: customer.', { code: 'parameter_missing', param: 'customer' });
  const request = requestOf(world, {
    customer: params.customer,
    items,
    trial_end,
    proration_behavior,
    ...(cancel_at == null ? {} : { cancel_at }),
    ...(typeof anchor === 'object' && anchor.timestamp !== undefined
      ? { billing_cycle_anchor: anchor.timestamp }
      : {}),
  });
  const subscription = draftSubscription(world, request);
  return {
    subscription,
    reason: 'subscription_create',
    lines: firstInvoiceLines(world, request, subscription),
    periodStart: world.now(),
    periodEnd: world.now(),
  };
}

/** What cancelling now would settle. */
function ofCancel(world: World, subscription: Subscription): Look {
  const credits = subscription.items.data.flatMap(
    (item) => unusedTime(world, subscription, item, world.now()) ?? [],
  );
  return {
    subscription,
    reason: 'upcoming',
    lines: changeLines(
      world,
      subscription,
      [...pendingFor(world, subscription.customer, subscription.id, true), ...credits],
      { restarted: [] },
    ),
    periodStart: Math.min(...subscription.items.data.map((item) => item.current_period_start)),
    periodEnd: world.now(),
  };
}

/** The same shape that the change itself would have, so that a preview equals its effect. */
function ofExisting(world: World, subscription: Subscription, params: Params): Look {
  const wanted = params.subscription_details ?? {};
  if (wanted.cancel_now === true) return ofCancel(world, subscription);
  const anchor = wanted.billing_cycle_anchor;
  const next = nextShape(world, subscription, {
    changes: itemChanges(world, wanted.items ?? [], (index) => `subscription_details[items][${index}]`),
    prorationBehavior: wanted.proration_behavior ?? 'create_prorations',
    prorationDate: wanted.proration_date ?? world.now(),
    resetAnchor: anchor === 'now' || (typeof anchor === 'object' && anchor.type === 'now'),
    trialEnd: wanted.trial_end,
  });
  const changed: Subscription = { ...subscription, ...next.changes };
  for (const item of next.prorations) world.state.invoiceItems.set(item.id, item);
  const periodStart = Math.min(...subscription.items.data.map((item) => item.current_period_start));
  if (next.invoiceNow) {
    const pending = pendingFor(world, subscription.customer, subscription.id, true);
    return {
      subscription: changed,
      reason: 'subscription_update',
      lines: changeLines(world, changed, pending, next),
      periodStart,
      periodEnd: world.now(),
    };
  }
  const end = periodEnd(changed);
  const ends =
    wanted.cancel_at_period_end === true || (changed.cancel_at !== null && changed.cancel_at <= end);
  const due = ends ? [] : next.items.filter((item) => item.current_period_end === end);
  const waits = pendingFor(world, subscription.customer, subscription.id).length > 0;
  if (subscription.ended_at !== null || (due.length === 0 && !waits)) throw none(subscription.customer);
  return {
    subscription: changed,
    reason: 'upcoming',
    lines: cycleLines(
      world,
      changed,
      due.map((item) => renewed(changed, item)),
    ),
    periodStart,
    periodEnd: end,
  };
}

function look(world: World, params: Params): Look {
  if (params.subscription !== undefined)
    return ofExisting(world, findSubscription(world, params.subscription, 'subscription'), params);
  if (params.subscription_details?.items !== undefined) return ofNew(world, params);
  const customer = findCustomer(world, params.customer ?? '', 'customer');
  const live = [...world.state.subscriptions.values()].find(
    (one) => one.customer === customer.id && one.ended_at === null,
  );
  if (live === undefined) throw none(customer.id);
  return ofExisting(world, live, params);
}

/** What the next invoice would be; nothing is stored or announced. */
export function previewInvoice(world: World, params: Params): Invoice {
  return quietly(world, () => {
    const { subscription, reason, lines, periodStart, periodEnd: end } = look(world, params);
    const customer = findCustomer(world, subscription.customer);
    const extras = extraItems(world, params, customer.id);
    const given = redeemAll(world, redemptionsOf(world, params.discounts, customer.id), {
      customer: customer.id,
      subscription: null,
    });
    const { invoice } = buildInvoice(world, {
      customer,
      subscription,
      reason,
      lines: (id) => [...extras.map((item) => lineOfItem(id, item)), ...lines(id)],
      currency: subscription.currency,
      periodStart,
      periodEnd: end,
      autoAdvance: false,
      discounts: params.discounts === undefined ? discountsFor(world, customer, subscription) : given,
      metadata: mergeMetadata(null, params.subscription_details?.metadata),
    });
    // A subscription that does not exist yet cannot be named.
    const parent = reason === 'subscription_create' ? null : invoice.parent;
    return { ...invoice, id: `upcoming_${invoice.id}`, parent, ...balances(invoice, customer.balance) };
  });
}

/** What the customer's balance would pay of it. */
function balances(invoice: Invoice, balance: number): Partial<Invoice> {
  const owed = invoice.total + balance;
  const due = invoice.total > 0 ? Math.max(0, owed) : 0;
  return {
    amount_due: due,
    amount_remaining: due,
    ending_balance: invoice.total > 0 ? Math.min(0, owed) : owed,
    starting_balance: balance,
  };
}
