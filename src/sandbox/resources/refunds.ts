import { z } from 'zod';
import { previousAttributes } from '../diff.ts';
import { createRefund, failRefund } from '../engine/refunds.ts';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  cosmetic,
  inRange,
  integer,
  mergeMetadata,
  metadata,
  noParams,
  notModelled,
  pageParams,
  text,
  timeRange,
} from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { Charge, Refund } from '../wire.ts';
import type { World } from '../world.ts';
import { findCharge } from './charges.ts';
import { findIntent } from './payment-intents.ts';

const createParams = z.strictObject({
  amount: integer.optional(),
  currency: notModelled,
  customer: notModelled,
  instructions_email: cosmetic,
  origin: notModelled,
  refund_application_fee: notModelled,
  reverse_transfer: notModelled,
  charge: text.optional(),
  metadata: metadata.optional(),
  payment_intent: text.optional(),
  reason: z.enum(['duplicate', 'fraudulent', 'requested_by_customer']).optional(),
});
const listParams = z.strictObject({
  ...pageParams,
  charge: text.optional(),
  created: timeRange.optional(),
  payment_intent: text.optional(),
});

function findRefund(world: World, id: string): Refund {
  const refund = world.state.refunds.get(id);
  if (refund === undefined) throw missing('refund', id);
  return refund;
}

function chargeOf(world: World, params: z.output<typeof createParams>): Charge {
  if (params.charge !== undefined) return findCharge(world, params.charge, 'charge');
  if (params.payment_intent === undefined)
    throw invalid(
      'One of the following params should be provided for this request: payment_intent or charge.',
    );
  const intent = findIntent(world, params.payment_intent, 'payment_intent');
  if (intent.status !== 'succeeded' || intent.latest_charge === null)
    throw invalid('This PaymentIntent does not have a successful charge to refund.', {
      param: 'payment_intent',
    });
  return findCharge(world, intent.latest_charge);
}

export const refundRoutes: Route[] = [
  route('POST', '/refunds', createParams, ({ world, params }) =>
    createRefund(world, chargeOf(world, params), {
      amount: params.amount,
      reason: params.reason,
      metadata: mergeMetadata(null, params.metadata),
    }),
  ),
  route('GET', '/refunds', listParams, ({ world, params, path }) =>
    page(
      world.state.refunds.values(),
      params,
      path,
      (one) =>
        inRange(one.created, params.created) &&
        (params.charge === undefined || one.charge === params.charge) &&
        (params.payment_intent === undefined || one.payment_intent === params.payment_intent),
    ),
  ),
  route('GET', '/refunds/:id', noParams, ({ world, id }) => findRefund(world, id)),
  route(
    'POST',
    '/refunds/:id',
    z.strictObject({ metadata: metadata.optional() }),
    ({ world, params, id }) => {
      const refund = findRefund(world, id);
      // Stripe announces a refund's change under both names.
      const before = structuredClone(refund);
      const merged = mergeMetadata(refund.metadata, params.metadata);
      world.update('refund.updated', refund, { metadata: merged });
      world.emit('charge.refund.updated', refund, previousAttributes(before, refund));
      return refund;
    },
  ),
  route('POST', '/refunds/:id/cancel', noParams, ({ world, id }) => {
    const refund = findRefund(world, id);
    if (refund.status !== 'pending' && refund.status !== 'requires_action')
      throw invalid(`Refund ${id} cannot be canceled because it has a status of ${refund.status}.`);
    failRefund(world, findCharge(world, refund.charge ?? ''), refund, 'canceled');
    return refund;
  }),
];
