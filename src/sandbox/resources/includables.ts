import { wireList } from '../wire.ts';
import type { World } from '../world.ts';

type Build = (world: World, id: string) => unknown;

/** Fields that Stripe leaves out of an object unless they are asked for with `expand`. */
const INCLUDABLES: Record<string, Build> = {
  'invoice.payments': (world, id) =>
    wireList(
      [...world.state.invoicePayments.values()].filter((payment) => payment.invoice === id),
      '/v1/invoices/payments',
    ),
  'invoice.confirmation_secret': (world, id) => {
    const payment = [...world.state.invoicePayments.values()].find((one) => one.invoice === id);
    const intent = world.state.paymentIntents.get(payment?.payment.payment_intent ?? '');
    return intent === undefined ? null : { client_secret: intent.client_secret, type: 'payment_intent' };
  },
  'charge.refunds': (world, id) => {
    const refunds = [...world.state.refunds.values()].filter((refund) => refund.charge === id).reverse();
    return { ...wireList(refunds, `/v1/charges/${id}/refunds`), total_count: refunds.length };
  },
  'checkout.session.line_items': (world, id) =>
    wireList(world.state.sessionLineItems.get(id) ?? [], `/v1/checkout/sessions/${id}/line_items`),
  'customer.subscriptions': (world, id) => {
    const live = [...world.state.subscriptions.values()].filter(
      (one) => one.customer === id && one.status !== 'canceled' && one.status !== 'incomplete_expired',
    );
    return { ...wireList(live.reverse(), `/v1/customers/${id}/subscriptions`), total_count: live.length };
  },
  'customer.sources': (_world, id) => ({ ...wireList([], `/v1/customers/${id}/sources`), total_count: 0 }),
  'customer.tax_ids': (_world, id) => ({ ...wireList([], `/v1/customers/${id}/tax_ids`), total_count: 0 }),
  'customer.invoice_credit_balance': () => ({}),
  'customer.tax': () => ({
    automatic_tax: 'unrecognized_location',
    ip_address: null,
    location: null,
    provider: 'stripe',
  }),
};

/** The includable's value, or undefined when the object has no such field. */
export function includable(world: World, object: Record<string, unknown>, field: string): unknown {
  const build = INCLUDABLES[`${String(object.object)}.${field}`];
  return build === undefined ? undefined : structuredClone(build(world, String(object.id)));
}
