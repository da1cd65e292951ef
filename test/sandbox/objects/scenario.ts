import type Stripe from 'stripe';
import type { Harness } from '../harness.ts';

/** A customer with a card, subscribed through the API. */
export async function subscribed(
  { stripe, price }: Harness,
  params: Partial<Stripe.SubscriptionCreateParams> = {},
  method = 'pm_card_visa',
): Promise<Stripe.Subscription> {
  const customer = await stripe.customers.create({
    email: 'ada@example.com',
    payment_method: method,
    invoice_settings: { default_payment_method: method },
  });
  return stripe.subscriptions.create({
    customer: customer.id,
    items: [{ price: await price('pro_monthly') }],
    ...params,
  });
}

export const linesOf = (invoice: Stripe.Invoice): [number, boolean | undefined][] =>
  invoice.lines.data.map((line) => [line.amount, line.parent?.subscription_item_details?.proration]);

export const sum = (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0);

export async function invoiceOf({ stripe }: Harness, id: string): Promise<Stripe.Invoice> {
  const { latest_invoice: latest } = await stripe.subscriptions.retrieve(id);
  return stripe.invoices.retrieve(String(latest));
}
