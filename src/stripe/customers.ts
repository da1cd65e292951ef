/** Which user a Stripe customer is. Bound when we make the customer; found by our own metadata if that was cut off. */
import type { Context } from '../context.ts';
import { unparkCustomer } from '../store/inbox.ts';
import { bindCustomer, findUserOfCustomer } from '../store/subscriptions.ts';
import { inTransaction } from '../store/transaction.ts';
import { findUser } from '../store/users.ts';
import { isMissing } from './client.ts';
import { type CustomerShape, parseCustomer, type SessionShape, USER_METADATA } from './shapes.ts';

/** The event waits until somebody says whose customer this is. */
export class UnknownCustomerError extends Error {
  override readonly name = 'UnknownCustomerError';
  constructor(readonly customerId: string) {
    super(`Stripe customer ${customerId} belongs to no user that is known here.`);
  }
}

/**
 * @param session a Checkout session of the customer, whose metadata may name the user
 * @throws UnknownCustomerError
 */
export async function userOfCustomer(
  context: Context,
  customerId: string,
  session?: SessionShape,
): Promise<string> {
  const known = await findUserOfCustomer(context.pool, customerId);
  if (known !== undefined) return known;
  const named =
    (session && userOfSession(session)) ??
    (await fetchCustomer(context, customerId))?.metadata[USER_METADATA];
  const bound = named === undefined ? undefined : await bind(context, named, customerId);
  if (bound === undefined) throw new UnknownCustomerError(customerId);
  return bound;
}

/**
 * The user named by a session that we made. Metadata can only be written with our key; a client_reference_id alone
 * comes from the URL of a payment link as well and proves nothing.
 */
export function userOfSession(session: SessionShape): string | undefined {
  const userId = session.metadata[USER_METADATA];
  const isAgreed = session.client_reference_id === null || session.client_reference_id === userId;
  return isAgreed ? userId : undefined;
}

/** @returns null where Stripe has no such customer */
export async function fetchCustomer({ stripe }: Context, customerId: string): Promise<CustomerShape | null> {
  try {
    return parseCustomer(await stripe.customers.retrieve(customerId));
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/** Binds and wakes what has waited for it. @returns whose customer it is; undefined where it is nobody's */
export async function bind(
  context: Context,
  userId: string,
  customerId: string,
): Promise<string | undefined> {
  if (!(await findUser(context.pool, userId))) return undefined;
  const now = context.clock.now();
  const bound = await inTransaction(context.pool, (tx) => bindCustomer(tx, userId, customerId, now));
  if (bound === '') {
    context.log.error(
      { alert: 'second_customer', userId, customerId },
      'A user has a second Stripe customer, which is not counted: merge them in the Dashboard',
    );
    return undefined;
  }
  for (const eventId of await unparkCustomer(context.pool, customerId, now)) {
    context.jobs.wake({ name: 'handle-stripe-event', eventId });
  }
  return bound;
}
