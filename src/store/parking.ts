/**
 * Users whose ledger violates an invariant: what runs by itself (jobs, Stripe) leaves them alone until somebody has
 * looked; reading and consuming go on.
 */
import { TollgateError } from '../errors.ts';
import { bucketOf } from './bucket.ts';
import type { Queryable } from './database.ts';

export interface Parking {
  at: Date;
  reason: string;
}

/** Its event waits, with this as its reason; over HTTP it is a conflict. */
export class UserParkedError extends TollgateError {
  readonly userId: string;

  constructor(userId: string, { reason }: Parking) {
    super('conflict', `User ${userId} is parked until its ledger is mended: ${reason}`);
    this.userId = userId;
  }
}

export async function findParking(db: Queryable, userId: string): Promise<Parking | undefined> {
  const { rows } = await db.query<Parking>(
    `select parked_at as at, coalesce(parked_reason, '') as reason from users
     where bucket = $1 and id = $2 and parked_at is not null`,
    [bucketOf(userId), userId],
  );
  return rows[0];
}

/**
 * For whatever changes a user without having been asked by anybody. Under the user's lock it holds to the commit.
 * @throws UserParkedError
 */
export async function refuseParked(tx: Queryable, userId: string): Promise<void> {
  const parking = await findParking(tx, userId);
  if (parking) throw new UserParkedError(userId, parking);
}

/** @returns whether the user was not parked before */
export async function parkUser(tx: Queryable, userId: string, { at, reason }: Parking): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update users set parked_at = $3, parked_reason = $4 where bucket = $1 and id = $2 and parked_at is null`,
    [bucketOf(userId), userId, at, reason],
  );
  return rowCount === 1;
}

/** @returns whether the user was parked */
export async function unparkUser(tx: Queryable, userId: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update users set parked_at = null, parked_reason = null where bucket = $1 and id = $2 and parked_at is not null`,
    [bucketOf(userId), userId],
  );
  return rowCount === 1;
}

/** What has waited for a user is due at once. @returns the events */
export async function wakeParkedEvents(tx: Queryable, userId: string, now: Date): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    `update stripe_events set next_attempt_at = $2 where status = 'parked'
       and (user_id = $1 or customer_id in (select id from stripe_customers where user_id = $1)) returning id`,
    [userId, now],
  );
  return rows.map(({ id }) => id);
}
