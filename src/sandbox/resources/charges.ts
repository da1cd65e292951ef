import { z } from 'zod';
import { missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import { inRange, noParams, pageParams, text, timeRange } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { Charge } from '../wire.ts';
import type { World } from '../world.ts';

const listParams = z.strictObject({
  ...pageParams,
  created: timeRange.optional(),
  customer: text.optional(),
  payment_intent: text.optional(),
});

export function findCharge(world: World, id: string, param?: string): Charge {
  const charge = world.state.charges.get(id);
  if (charge === undefined) throw missing('charge', id, param);
  return charge;
}

export const chargeRoutes: Route[] = [
  route('GET', '/charges', listParams, ({ world, params, path }) =>
    page(
      world.state.charges.values(),
      params,
      path,
      (one) =>
        inRange(one.created, params.created) &&
        (params.customer === undefined || one.customer === params.customer) &&
        (params.payment_intent === undefined || one.payment_intent === params.payment_intent),
    ),
  ),
  route('GET', '/charges/:id', noParams, ({ world, id }) => findCharge(world, id)),
  route('GET', '/charges/:id/refunds', z.strictObject(pageParams), ({ world, params, id, path }) =>
    page(world.state.refunds.values(), params, path, (refund) => refund.charge === findCharge(world, id).id),
  ),
  route('GET', '/balance_transactions/:id', noParams, ({ world, id }) => {
    const transaction = world.state.balanceTransactions.get(id);
    if (transaction === undefined) throw missing('balance transaction', id);
    return transaction;
  }),
];
