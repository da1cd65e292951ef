// Stripe's lists over HTTP, made page by page as they are asked for: N customers, each with one subscription to pro and
// one paid invoice. The sandbox keeps all its objects in memory and would be measured instead of the comparison.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type Stripe from 'stripe';

export const PERIOD = { start: 1_790_000_000, end: 1_792_592_000 };
export const PRICE = 'price_pro_monthly';
export const AMOUNT_MINOR = 2000;

export const idOf = (prefix: string, index: number): string => `${prefix}_${String(index).padStart(8, '0')}`;

type Fields<T> = { [Key in keyof T]?: unknown };

const price = {
  id: PRICE,
  object: 'price',
  lookup_key: 'pro_monthly',
  recurring: { interval: 'month' },
} satisfies Fields<Stripe.Price>;

function subscription(index: number) {
  return {
    id: idOf('sub', index),
    object: 'subscription',
    customer: idOf('cus', index),
    status: 'active',
    created: PERIOD.start,
    trial_end: null,
    cancel_at: null,
    cancel_at_period_end: false,
    canceled_at: null,
    ended_at: null,
    latest_invoice: idOf('in', index),
    items: {
      object: 'list',
      data: [
        {
          id: idOf('si', index),
          price,
          quantity: 1,
          current_period_start: PERIOD.start,
          current_period_end: PERIOD.end,
        },
      ],
    },
  } satisfies Fields<Stripe.Subscription>;
}

function invoice(index: number) {
  const line = {
    id: idOf('il', index),
    object: 'line_item',
    amount: AMOUNT_MINOR,
    subtotal: AMOUNT_MINOR,
    currency: 'usd',
    quantity: 1,
    period: PERIOD,
    discount_amounts: [],
    pricing: { price_details: { price: PRICE } },
    parent: {
      subscription_item_details: {
        subscription: idOf('sub', index),
        subscription_item: idOf('si', index),
        proration: false,
      },
      invoice_item_details: null,
    },
  } satisfies Fields<Stripe.InvoiceLineItem>;
  const payment = { type: 'payment_intent', payment_intent: idOf('pi', index) };
  const paid = { invoice: idOf('in', index), status: 'paid', amount_paid: AMOUNT_MINOR, payment };
  return {
    id: idOf('in', index),
    object: 'invoice',
    customer: idOf('cus', index),
    status: 'paid',
    billing_reason: 'subscription_create',
    created: PERIOD.start,
    amount_paid: AMOUNT_MINOR,
    status_transitions: { paid_at: PERIOD.start },
    from_invoice: null,
    parent: { subscription_details: { subscription: idOf('sub', index) } },
    lines: { object: 'list', has_more: false, data: [line] },
    payments: { object: 'list', has_more: false, data: [paid] },
  } satisfies Fields<Stripe.Invoice>;
}

const LISTS: Record<string, (index: number) => object> = {
  '/v1/subscriptions': subscription,
  '/v1/invoices': invoice,
};

/** @param count how many of each there are */
export async function startFakeStripe(
  count: number,
): Promise<{ url: string; server: Server; requests(): number }> {
  let requests = 0;
  const server = createServer((request, response) => {
    requests += 1;
    const url = new URL(request.url ?? '/', 'http://stripe');
    response.setHeader('content-type', 'application/json');
    if (url.pathname === `/v1/prices/${PRICE}`) return void response.end(JSON.stringify(price));
    const make = LISTS[url.pathname];
    const limit = Number(url.searchParams.get('limit') ?? 10);
    const after = url.searchParams.get('starting_after');
    const first = after === null ? 0 : Number(after.split('_')[1]) + 1;
    const size = make ? Math.max(0, Math.min(limit, count - first)) : 0;
    const customer = url.searchParams.get('customer');
    const indexes =
      customer === null
        ? Array.from({ length: size }, (_, offset) => first + offset)
        : [Number(customer.split('_')[1])];
    const data = make ? indexes.map(make) : [];
    response.end(
      JSON.stringify({
        object: 'list',
        url: url.pathname,
        has_more: make !== undefined && customer === null && first + size < count,
        data,
      }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    requests: () => requests,
  };
}
