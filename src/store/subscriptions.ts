/** Snapshots of Stripe subscriptions, and which user a Stripe customer is. */
import type { SubscriptionState } from '../domain/subscription.ts';
import { bucketOf } from './bucket.ts';
import type { Queryable } from './database.ts';

export const SUBSCRIPTION_COLUMNS = `id, customer_id as "customerId", status, plan, price_id as "priceId",
  lookup_key as "lookupKey", interval, quantity, item_id as "itemId", current_period_start as "currentPeriodStart",
  current_period_end as "currentPeriodEnd", trial_end as "trialEnd", cancel_at as "cancelAt",
  canceled_at as "canceledAt", ended_at as "endedAt", started_at as "startedAt",
  latest_invoice_id as "latestInvoiceId"`;
const SELECT = `select ${SUBSCRIPTION_COLUMNS} from subscriptions where bucket = $1 and user_id = $2`;

export async function listSubscriptions(tx: Queryable, userId: string): Promise<SubscriptionState[]> {
  const { rows } = await tx.query<SubscriptionState>(`${SELECT} order by started_at, id`, [
    bucketOf(userId),
    userId,
  ]);
  return rows;
}

export async function findSubscription(
  tx: Queryable,
  userId: string,
  subscriptionId: string,
): Promise<SubscriptionState | null> {
  const { rows } = await tx.query<SubscriptionState>(`${SELECT} and id = $3`, [
    bucketOf(userId),
    userId,
    subscriptionId,
  ]);
  return rows[0] ?? null;
}

/** Drawn before an object is fetched from Stripe: of two fetches, the one with the higher ticket saw the later state. */
export async function nextFetchTicket(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ ticket: number }>(`select nextval('fetch_tickets') as ticket`);
  const row = rows[0];
  if (!row) throw new Error('The database gave no fetch ticket.');
  return row.ticket;
}

/** Takes the snapshot only if its ticket is newer than the stored one. The caller holds the user's lock. */
export async function storeSubscription(
  tx: Queryable,
  userId: string,
  snapshot: SubscriptionState,
  ticket: number,
  now: Date,
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `insert into subscriptions (bucket, user_id, id, customer_id, status, plan, price_id, lookup_key, interval, quantity,
       item_id, current_period_start, current_period_end, trial_end, cancel_at, canceled_at, ended_at, started_at,
       latest_invoice_id, last_ticket, updated_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
     on conflict (bucket, user_id, id) do update set customer_id = excluded.customer_id, status = excluded.status,
       plan = excluded.plan, price_id = excluded.price_id, lookup_key = excluded.lookup_key,
       interval = excluded.interval, quantity = excluded.quantity, item_id = excluded.item_id,
       current_period_start = excluded.current_period_start, current_period_end = excluded.current_period_end,
       trial_end = excluded.trial_end, cancel_at = excluded.cancel_at, canceled_at = excluded.canceled_at,
       ended_at = excluded.ended_at, started_at = excluded.started_at, latest_invoice_id = excluded.latest_invoice_id,
       last_ticket = excluded.last_ticket, updated_at = excluded.updated_at
     where subscriptions.last_ticket < excluded.last_ticket`,
    [
      bucketOf(userId),
      userId,
      snapshot.id,
      snapshot.customerId,
      snapshot.status,
      snapshot.plan,
      snapshot.priceId,
      snapshot.lookupKey,
      snapshot.interval,
      snapshot.quantity,
      snapshot.itemId,
      snapshot.currentPeriodStart,
      snapshot.currentPeriodEnd,
      snapshot.trialEnd,
      snapshot.cancelAt,
      snapshot.canceledAt,
      snapshot.endedAt,
      snapshot.startedAt,
      snapshot.latestInvoiceId,
      ticket,
      now,
    ],
  );
  return rowCount === 1;
}

export async function findUserOfCustomer(db: Queryable, customerId: string): Promise<string | undefined> {
  const { rows } = await db.query<{ userId: string }>(
    `select user_id as "userId" from stripe_customers where id = $1`,
    [customerId],
  );
  return rows[0]?.userId;
}

/** Every customer that a user has had, deleted ones included. */
export async function listCustomers(db: Queryable, userId: string): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from stripe_customers where user_id = $1 order by created_at, id`,
    [userId],
  );
  return rows.map(({ id }) => id);
}

/**
 * Binds a Stripe customer to a user, once.
 * @returns the user that the customer belongs to, which is another one if it was bound before
 */
export async function bindCustomer(
  tx: Queryable,
  userId: string,
  customerId: string,
  now: Date,
): Promise<string> {
  await tx.query(
    `insert into stripe_customers (id, user_id, created_at) values ($1, $2, $3) on conflict do nothing`,
    [customerId, userId, now],
  );
  const bound = await findUserOfCustomer(tx, customerId);
  if (bound === userId) {
    await tx.query(
      `update users set stripe_customer_id = $3 where bucket = $1 and id = $2 and stripe_customer_id is distinct from $3`,
      [bucketOf(userId), userId, customerId],
    );
  }
  return bound ?? '';
}

/**
 * Notes that a customer is gone from Stripe, so that its user can have another. The mapping stays: late events of the
 * old one still find their user.
 */
export async function tombstoneCustomer(
  tx: Queryable,
  userId: string,
  customerId: string,
  now: Date,
): Promise<void> {
  await tx.query(
    `update stripe_customers set deleted_at = coalesce(deleted_at, $3) where id = $1 and user_id = $2`,
    [customerId, userId, now],
  );
  await tx.query(
    `update users set stripe_customer_id = null where bucket = $1 and id = $2 and stripe_customer_id = $3`,
    [bucketOf(userId), userId, customerId],
  );
}

/** Only for one that Stripe does not have. @returns the row as it was, for the audit */
export async function deleteSubscription(
  tx: Queryable,
  userId: string,
  subscriptionId: string,
): Promise<Record<string, unknown>[]> {
  const { rows } = await tx.query<Record<string, unknown>>(
    `delete from subscriptions where bucket = $1 and user_id = $2 and id = $3 returning *`,
    [bucketOf(userId), userId, subscriptionId],
  );
  return rows;
}
