import { z } from 'zod';
import { buildInvoice } from '../engine/invoice-object.ts';
import { periodLine } from '../engine/lines.ts';
import { periodOf } from '../engine/subscription-object.ts';
import { nextItems, prorations } from '../engine/subscription-update.ts';
import { invalid } from '../errors.ts';
import { flag, integer, metadata, positive, text } from '../http/params.ts';
import type { Invoice, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customers.ts';
import { itemChanges } from './subscription-changes.ts';
import { findSubscription } from './subscriptions.ts';

export const previewParams = z.strictObject({
  customer: text.optional(),
  subscription: text.optional(),
  subscription_details: z
    .strictObject({
      items: z
        .array(
          z.strictObject({
            id: text.optional(),
            deleted: flag.optional(),
            metadata: metadata.optional(),
            price: text.optional(),
            quantity: positive.optional(),
          }),
        )
        .optional(),
      proration_behavior: z.enum(['always_invoice', 'create_prorations', 'none']).optional(),
      proration_date: integer.optional(),
    })
    .optional(),
});

/** What the next invoice would be; nothing is stored or announced. */
export function previewInvoice(world: World, params: z.output<typeof previewParams>): Invoice {
  if (params.subscription === undefined)
    throw invalid('Missing required param: subscription.', {
      code: 'parameter_missing',
      param: 'subscription',
    });
  const subscription = structuredClone(findSubscription(world, params.subscription, 'subscription'));
  const customer = findCustomer(world, subscription.customer);
  const details = params.subscription_details ?? {};
  const behaviour = details.proration_behavior ?? 'create_prorations';
  const at = details.proration_date ?? world.now();
  const next = nextItems(world, subscription, {
    changes: itemChanges(world, details.items ?? []),
    prorationBehavior: behaviour,
    prorationDate: at,
    paymentBehavior: 'allow_incomplete',
    resetAnchor: false,
  });
  const builds = behaviour === 'none' ? [] : prorations(world, subscription, next, at);
  const renewed = (item: SubscriptionItem): SubscriptionItem => {
    const period = periodOf(item.price, subscription.billing_cycle_anchor, item.current_period_end, null);
    return { ...item, current_period_start: period.start, current_period_end: period.end };
  };
  const immediate = behaviour === 'always_invoice';
  const { invoice } = buildInvoice(world, {
    customer,
    subscription,
    reason: immediate ? 'subscription_update' : 'upcoming',
    lines: (id) => [
      ...builds.map((build) => build(id)),
      ...(immediate ? [] : next.map((item) => periodLine(world, id, subscription, renewed(item), false))),
    ],
    currency: subscription.currency,
    periodStart: Math.min(...next.map((item) => item.current_period_start)),
    periodEnd: immediate ? world.now() : Math.min(...next.map((item) => item.current_period_end)),
    autoAdvance: false,
    discounts: subscription.discounts,
  });
  return { ...invoice, id: `upcoming_${invoice.id}` };
}
