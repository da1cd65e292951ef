/** The inbox of Stripe events: every row ends handled, ignored, or visibly failed; none is lost. */
import { StripeEventStatus } from '../generated/prisma/enums.ts';
import type { Queryable } from './database.ts';

export { StripeEventStatus };

/** What is kept of an event: ids only. */
export interface EventPointer {
  id: string;
  type: string;
  apiVersion: string | null;
  livemode: boolean;
  objectId: string | null;
  customerId: string | null;
  createdAt: Date;
}

export interface InboxRow extends EventPointer {
  status: StripeEventStatus;
  origin: string;
  deliveries: number;
  attempts: number;
  nextAttemptAt: Date;
  lastError: string | null;
  outcome: string | null;
  userId: string | null;
  receivedAt: Date;
  handledAt: Date | null;
}

const SELECT = `select id, type, api_version as "apiVersion", livemode, object_id as "objectId",
  customer_id as "customerId", status, origin, deliveries, attempts, next_attempt_at as "nextAttemptAt",
  last_error as "lastError", outcome, user_id as "userId", created_at as "createdAt", received_at as "receivedAt",
  handled_at as "handledAt" from stripe_events`;

/**
 * Stores an event, or counts another delivery of it.
 * @returns whether there is still something to do for it
 */
export async function receiveEvent(
  db: Queryable,
  event: EventPointer,
  { origin, now }: { origin: 'webhook' | 'backfill'; now: Date },
): Promise<{ isNew: boolean; isUnhandled: boolean }> {
  const { rows } = await db.query<{ isNew: boolean; status: StripeEventStatus }>(
    `insert into stripe_events (id, type, api_version, livemode, object_id, customer_id, origin, next_attempt_at,
       created_at, received_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $8)
     on conflict (id) do update set deliveries = stripe_events.deliveries + (case when $7 = 'webhook' then 1 else 0 end)
     returning xmax = 0 as "isNew", status`,
    [
      event.id,
      event.type,
      event.apiVersion,
      event.livemode,
      event.objectId,
      event.customerId,
      origin,
      now,
      event.createdAt,
    ],
  );
  const row = rows[0];
  if (!row) throw new Error(`The inbox did not take event ${event.id}.`);
  return { isNew: row.isNew, isUnhandled: row.status === 'pending' || row.status === 'parked' };
}

export async function findEvent(db: Queryable, id: string): Promise<InboxRow | undefined> {
  const { rows } = await db.query<InboxRow>(`${SELECT} where id = $1`, [id]);
  return rows[0];
}

/**
 * Marks an event done; called in the transaction of its effects. What an earlier handling did stays in the outcome: it
 * explains entries of the ledger (lib/explain.ts).
 */
export async function markHandled(
  tx: Queryable,
  id: string,
  end: { status: 'handled' | 'ignored'; outcome: string; userId: string | null; now: Date },
): Promise<void> {
  await tx.query(
    `update stripe_events set status = $2, outcome = case when outcome is null then $3
         when position($3 in outcome) > 0 then outcome else outcome || '; ' || $3 end, user_id = coalesce($4, user_id), handled_at = $5,
       attempts = attempts + 1, last_error = null where id = $1`,
    [id, end.status, end.outcome, end.userId, end.now],
  );
}

/** Leaves an event for later (pending, parked) or for a human (failed), with the reason, and for whom if that is known. */
export async function markUnhandled(
  db: Queryable,
  id: string,
  next: {
    status: 'pending' | 'parked' | 'failed';
    error: string;
    nextAttemptAt: Date;
    userId?: string | undefined;
  },
): Promise<void> {
  await db.query(
    `update stripe_events set status = $2, last_error = $3, next_attempt_at = $4, attempts = attempts + 1,
       user_id = coalesce($5, user_id) where id = $1 and status in ('pending', 'parked', 'failed')`,
    [id, next.status, next.error, next.nextAttemptAt, next.userId ?? null],
  );
}

/** Puts an event back to the start, whatever its state: handling it twice has one effect. */
export async function resetEvent(db: Queryable, id: string, now: Date): Promise<boolean> {
  const { rowCount } = await db.query(
    `update stripe_events set status = 'pending', attempts = 0, next_attempt_at = $2, handled_at = null where id = $1`,
    [id, now],
  );
  return rowCount === 1;
}

/** Events whose next attempt is due. */
export async function listDueEvents(
  db: Queryable,
  { now, limit }: { now: Date; limit: number },
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from stripe_events where status in ('pending', 'parked') and next_attempt_at <= $1
     order by next_attempt_at limit $2`,
    [now, limit],
  );
  return rows.map(({ id }) => id);
}

/** Whether an event waits for its first handling. */
export async function hasFreshEvents(db: Queryable): Promise<boolean> {
  const { rowCount } = await db.query(
    `select 1 from stripe_events where status = 'pending' and attempts = 0 limit 1`,
  );
  return rowCount === 1;
}

/** Newest first, from before a row. */
export async function listEvents(
  db: Queryable,
  page: { status: StripeEventStatus | null; before: { receivedAt: Date; id: string } | null; limit: number },
): Promise<InboxRow[]> {
  const { rows } = await db.query<InboxRow>(
    `${SELECT} where ($1::stripe_event_status is null or status = $1)
       and ($2::timestamptz is null or (received_at, id) < ($2, $3))
     order by received_at desc, id desc limit $4`,
    [page.status, page.before?.receivedAt ?? null, page.before?.id ?? null, page.limit],
  );
  return rows;
}

/** Parked events of a customer that has just become known are due at once. */
export async function unparkCustomer(db: Queryable, customerId: string, now: Date): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `update stripe_events set next_attempt_at = $2 where customer_id = $1 and status = 'parked' returning id`,
    [customerId, now],
  );
  return rows.map(({ id }) => id);
}

export async function readCursor(db: Queryable, name: string): Promise<Date | undefined> {
  const { rows } = await db.query<{ position: Date }>(`select position from sync_cursors where name = $1`, [
    name,
  ]);
  return rows[0]?.position;
}

export async function writeCursor(db: Queryable, name: string, position: Date): Promise<void> {
  await db.query(
    `insert into sync_cursors (name, position) values ($1, $2)
     on conflict (name) do update set position = greatest(sync_cursors.position, excluded.position)`,
    [name, position],
  );
}

/** How many events are still to be done, or were given up, and since when the oldest of them waits. */
export async function countUnfinishedEvents(
  db: Queryable,
): Promise<{ status: StripeEventStatus; count: number; oldestAt: Date | null }[]> {
  const { rows } = await db.query<{ status: StripeEventStatus; count: number; oldestAt: Date | null }>(
    `select s.status, count(e.id) as count, min(e.received_at) as "oldestAt"
     from unnest(array['pending', 'parked', 'failed']::stripe_event_status[]) s(status)
     left join stripe_events e on e.status = s.status group by 1`,
  );
  return rows;
}
