/** What becomes of a user whose Stripe customer changes or is deleted. */
import type { Context } from '../context.ts';
import { markHandled } from '../store/inbox.ts';
import { findUserOfCustomer, listSubscriptions, tombstoneCustomer } from '../store/subscriptions.ts';
import { inTransaction } from '../store/transaction.ts';
import { isMissing } from './client.ts';
import { fetchCustomer } from './customers.ts';
import { syncSubscription } from './sync.ts';

/**
 * Stripe ends the subscriptions of a deleted customer, and their events may come before or after this one: each is read
 * as it is now. The ledger stays.
 * @returns null for a customer that is nobody's
 */
export async function syncCustomer(
  context: Context,
  customerId: string,
  eventId?: string,
): Promise<string | null> {
  const { pool, clock } = context;
  const userId = await findUserOfCustomer(pool, customerId);
  if (userId === undefined) return null;
  const customer = await fetchCustomer(context, customerId);
  const isGone = customer === null || customer.isDeleted;
  if (isGone) {
    for (const id of await subscriptionsOf(context, userId, customerId)) await syncSubscription(context, id);
  }
  const now = clock.now();
  await inTransaction(pool, async (tx) => {
    if (isGone) await tombstoneCustomer(tx, userId, customerId, now);
    const outcome = isGone ? 'the customer is gone; its subscriptions were read' : 'nothing to do';
    if (eventId !== undefined) await markHandled(tx, eventId, { status: 'handled', outcome, userId, now });
  });
  return userId;
}

/** Those that we know of, and those whose every event was lost. */
async function subscriptionsOf(
  { pool, stripe }: Context,
  userId: string,
  customer: string,
): Promise<Set<string>> {
  const known = await listSubscriptions(pool, userId);
  const ids = new Set(known.filter(({ customerId }) => customerId === customer).map(({ id }) => id));
  try {
    for await (const { id } of stripe.subscriptions.list({ customer, status: 'all', limit: 100 }))
      ids.add(id);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  return ids;
}
