/** Our side of the books in pages, for a comparison that keeps no more than a page in memory. */
import type { Grant, Hold } from '../domain/model.ts';
import type { PaidLine } from '../domain/paid-lines.ts';
import type { SubscriptionState } from '../domain/subscription.ts';
import { GRANT_SELECT, HOLD_SELECT, USER_SELECT, type UserRow } from './account-rows.ts';
import { bucketOf } from './bucket.ts';
import type { Pool, Queryable } from './database.ts';
import { findViolationsOf, type Violation } from './invariants.ts';
import { fromLineRow, LINE_COLUMNS, type LineRow } from './paid-lines.ts';
import { SUBSCRIPTION_COLUMNS } from './subscriptions.ts';
import { inTransaction } from './transaction.ts';

export type Owned<T> = T & { userId: string };

/** Rows of a few users: their buckets lead every key. */
const OF_USERS = `bucket = any($1::smallint[]) and user_id = any($2)`;
const ofUsers = (userIds: readonly string[]): [number[], string[]] => [
  [...new Set(userIds.map(bucketOf))],
  [...new Set(userIds)],
];

/** Whose these Stripe customers are; deleted ones are still somebody's. */
export async function findUsersOfCustomers(
  db: Queryable,
  customerIds: readonly string[],
): Promise<Map<string, string>> {
  const { rows } = await db.query<{ id: string; userId: string }>(
    `select id, user_id as "userId" from stripe_customers where id = any($1)`,
    [customerIds],
  );
  return new Map(rows.map(({ id, userId }) => [id, userId]));
}

export async function listCustomersOf(db: Queryable, userId: string): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from stripe_customers where user_id = $1 order by created_at`,
    [userId],
  );
  return rows.map(({ id }) => id);
}

export async function findSubscriptionsById(
  db: Queryable,
  userIds: readonly string[],
  ids: readonly string[],
): Promise<Map<string, Owned<SubscriptionState>>> {
  const { rows } = await db.query<Owned<SubscriptionState>>(
    `select ${SUBSCRIPTION_COLUMNS}, user_id as "userId" from subscriptions where ${OF_USERS} and id = any($3)`,
    [...ofUsers(userIds), ids],
  );
  return new Map(rows.map((row) => [row.id, row]));
}

/** Lines of these invoices and sessions, and the grants that came of them. */
export async function findPayments(
  db: Queryable,
  userIds: readonly string[],
  paymentIds: readonly string[],
): Promise<{ lines: Owned<PaidLine>[]; grants: Owned<Grant>[] }> {
  const values = [...ofUsers(userIds), paymentIds];
  const lines = await db.query<Owned<LineRow>>(
    `select ${LINE_COLUMNS}, user_id as "userId" from paid_lines where ${OF_USERS} and payment_id = any($3)`,
    values,
  );
  const grants = await db.query<Owned<Grant>>(
    `select ${GRANT_SELECT}, user_id as "userId" from credit_grants
     where ${OF_USERS} and (invoice_id = any($3) or checkout_session_id = any($3))`,
    values,
  );
  return {
    lines: lines.rows.map(({ userId, ...row }) => ({ ...fromLineRow(row), userId })),
    grants: grants.rows,
  };
}

/** Where a page of our rows left off; keys are (bucket, user, id) in this order. */
export interface Place {
  bucket: number;
  userId: string;
  id: string;
}
export const START: Place = { bucket: -1, userId: '', id: '' };

/** Our subscriptions, in the order of their keys. @param userId only this one's */
export async function listSubscriptionPlaces(
  db: Queryable,
  after: Place,
  limit: number,
  userId: string | null,
): Promise<Place[]> {
  const { rows } = await db.query<Place>(
    `select bucket, user_id as "userId", id from subscriptions
     where (bucket, user_id, id) > ($1, $2, $3) and ($5::text is null or (bucket = $6 and user_id = $5))
     order by bucket, user_id, id limit $4`,
    [after.bucket, after.userId, after.id, limit, userId, userId === null ? null : bucketOf(userId)],
  );
  return rows;
}

/** Our paid lines with the payment of each as `paymentId`, in the order of their keys. */
export async function listLinePlaces(
  db: Queryable,
  after: Place,
  limit: number,
  { userId, since }: { userId: string | null; since: Date | null },
): Promise<(Place & { paymentId: string })[]> {
  const { rows } = await db.query<Place & { paymentId: string }>(
    `select bucket, user_id as "userId", key as id, payment_id as "paymentId" from paid_lines
     where (bucket, user_id, key) > ($1, $2, $3) and ($5::text is null or (bucket = $6 and user_id = $5))
       and ($7::timestamptz is null or paid_at >= $7)
     order by bucket, user_id, key limit $4`,
    [after.bucket, after.userId, after.id, limit, userId, userId === null ? null : bucketOf(userId), since],
  );
  return rows;
}

/** A user with everything that the rules need to say what should be. */
export interface AccountRows {
  bucket: number;
  user: UserRow;
  grants: Grant[];
  holds: Hold[];
  subscriptions: SubscriptionState[];
  lines: PaidLine[];
  violations: Violation[];
}

/** Users in the order of their keys, each as it was at one instant. */
export function listAccounts(
  pool: Pool,
  after: Pick<Place, 'bucket' | 'userId'>,
  limit: number,
  userId: string | null,
): Promise<AccountRows[]> {
  return inTransaction(pool, async (tx) => {
    await tx.query('set transaction isolation level repeatable read, read only');
    await tx.query('set local statement_timeout = 60000');
    const { rows: users } = await tx.query<UserRow>(
      `select ${USER_SELECT} from users
       where (bucket, id) > ($1, $2) and ($4::text is null or (bucket = $5 and id = $4)) order by bucket, id limit $3`,
      [after.bucket, after.userId, limit, userId, userId === null ? null : bucketOf(userId)],
    );
    return users.length === 0 ? [] : withRows(tx, users);
  });
}

async function withRows(tx: Queryable, users: readonly UserRow[]): Promise<AccountRows[]> {
  const keys = ofUsers(users.map(({ id }) => id));
  const grants = await tx.query<Owned<Grant>>(
    `select ${GRANT_SELECT}, user_id as "userId" from credit_grants where ${OF_USERS}
       and (closed_at is null or held_tokens > 0 or settled_debt_tokens > 0 or invoice_id is not null
         or checkout_session_id is not null or is_withheld)`,
    keys,
  );
  const holds = await tx.query<Owned<Hold>>(
    `select ${HOLD_SELECT}, user_id as "userId" from holds where ${OF_USERS} and status = 'open'`,
    keys,
  );
  const subscriptions = await tx.query<Owned<SubscriptionState>>(
    `select ${SUBSCRIPTION_COLUMNS}, user_id as "userId" from subscriptions where ${OF_USERS} order by started_at, id`,
    keys,
  );
  const lines = await tx.query<Owned<LineRow>>(
    `select ${LINE_COLUMNS}, user_id as "userId" from paid_lines where ${OF_USERS} order by starts_at, key`,
    keys,
  );
  const violations = await findViolationsOf(tx, ...users.map(({ id }) => id));
  const own = <T extends { userId: string | null }>(rows: readonly T[], id: string): T[] =>
    rows.filter((row) => row.userId === id);
  return users.map((user) => ({
    bucket: bucketOf(user.id),
    user,
    grants: own(grants.rows, user.id).map(({ userId: _, ...grant }) =>
      grant.id === user.headGrantId ? { ...grant, remainingTokens: user.headRemainingTokens } : grant,
    ),
    holds: own(holds.rows, user.id),
    subscriptions: own(subscriptions.rows, user.id),
    lines: own(lines.rows, user.id).map(({ userId: _, ...row }) => fromLineRow(row)),
    violations: own(violations, user.id),
  }));
}
