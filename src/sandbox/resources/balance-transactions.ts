import { z } from 'zod';
import { moveBalance } from '../engine/balance.ts';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  inRange,
  integer,
  mergeMetadata,
  metadata,
  noParams,
  pageParams,
  text,
  timeRange,
} from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { CustomerBalanceTransaction } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customer-object.ts';

const createParams = z.strictObject({
  amount: integer,
  currency: text,
  description: text.optional(),
  metadata: metadata.optional(),
});
const updateParams = z.strictObject({ description: text.optional(), metadata: metadata.optional() });
const listParams = z.strictObject({
  ...pageParams,
  created: timeRange.optional(),
  invoice: text.optional(),
});

function find(world: World, customer: string, id: string): CustomerBalanceTransaction {
  const found = world.state.customerBalanceTransactions.get(id);
  if (found?.customer !== findCustomer(world, customer).id) throw missing('customer balance transaction', id);
  return found;
}

export const customerBalanceRoutes: Route[] = [
  route('POST', '/customers/:id/balance_transactions', createParams, ({ world, params, id }) => {
    const customer = findCustomer(world, id);
    const currency = params.currency.toLowerCase();
    if (customer.currency != null && customer.currency !== currency)
      throw invalid(
        `The customer's currency is ${customer.currency}; a balance transaction in ${currency} is not possible.`,
        { param: 'currency' },
      );
    const moved = moveBalance(world, customer, {
      amount: params.amount,
      type: 'adjustment',
      currency,
      description: params.description ?? null,
      metadata: mergeMetadata(null, params.metadata),
    });
    if (moved === null) throw invalid('The amount must not be 0.', { param: 'amount' });
    return moved;
  }),
  route('GET', '/customers/:id/balance_transactions', listParams, ({ world, params, id, path }) => {
    const customer = findCustomer(world, id).id;
    return page(
      world.state.customerBalanceTransactions.values(),
      params,
      path,
      (one) =>
        one.customer === customer &&
        inRange(one.created, params.created) &&
        (params.invoice === undefined || one.invoice === params.invoice),
    );
  }),
  route('GET', '/customers/:id/balance_transactions/:transaction', noParams, ({ world, id, subId }) =>
    find(world, id, subId),
  ),
  route(
    'POST',
    '/customers/:id/balance_transactions/:transaction',
    updateParams,
    ({ world, params, id, subId }) => {
      const transaction = find(world, id, subId);
      transaction.description = params.description ?? transaction.description;
      transaction.metadata = mergeMetadata(transaction.metadata, params.metadata);
      return transaction;
    },
  ),
];
