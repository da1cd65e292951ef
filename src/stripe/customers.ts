/** Which user a Stripe customer is. Bound when we make the customer; found by our own metadata if that was cut off. */
import { createHash } from 'node:crypto';
import type { Context } from '../context.ts';
import { unparkCustomer } from '../store/inbox.ts';
import {
  bindCustomer,
  findUserOfCustomer,
  listCustomers,
  tombstoneCustomer,
} from '../store/subscriptions.ts';
import { inTransaction } from '../store/transaction.ts';
import { findProfile, findUser } from '../store/users.ts';
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

/**
 * The user's Stripe customer, made once and bound before anything is sold to it. One that is gone from Stripe (deleted
 * there, or a sandbox that has forgotten) makes room for a new one.
 */
export async function ensureCustomer(context: Context, userId: string): Promise<string> {
  const { pool, stripe, db } = context;
  const bound = (await findUser(pool, userId))?.stripeCustomerId ?? null;
  if (bound !== null) {
    const customer = await fetchCustomer(context, bound);
    if (customer && !customer.isDeleted) return bound;
    await inTransaction(pool, (tx) => tombstoneCustomer(tx, userId, bound, context.clock.now()));
  }
  // One key per life: after a deletion the old key would bring the deleted customer back.
  const before = await listCustomers(pool, userId);
  const hash = createHash('sha256')
    .update(`${userId} ${before.join(' ')}`)
    .digest('hex')
    .slice(0, 40);
  // Without the profile: Stripe refuses a repeated key with other content, and a profile may change in between.
  const made = await stripe.customers.create(
    { metadata: { [USER_METADATA]: userId } },
    { idempotencyKey: `tollgate:customer:${hash}` },
  );
  if ((await bind(context, userId, made.id)) !== userId) {
    // Another request has bound its own meanwhile.
    const winner = (await findUser(pool, userId))?.stripeCustomerId;
    if (winner) return winner;
    throw new Error(`Customer ${made.id} could not be bound.`);
  }
  const { email, name } = await findProfile(db, userId);
  const profile = { ...(email === null ? {} : { email }), ...(name === null ? {} : { name }) };
  if (Object.keys(profile).length > 0) await stripe.customers.update(made.id, profile);
  return made.id;
}
