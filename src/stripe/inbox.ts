/** The inbox as the operator sees it. */
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { Context } from '../context.ts';
import { invalidField, notFound } from '../errors.ts';
import { recordAudit } from '../store/audit.ts';
import {
  findEvent,
  hasFreshEvents,
  type InboxRow,
  listEvents,
  resetEvent,
  StripeEventStatus,
} from '../store/inbox.ts';
import { inTransaction } from '../store/transaction.ts';

export type StripeEventView = Record<string, unknown>;

export interface StripeEventPage {
  data: StripeEventView[];
  nextCursor: string | null;
}

const cursorShape = z.tuple([z.literal('stripe-events'), z.iso.datetime(), z.string().min(1)]);

/**
 * Newest first.
 * @throws TollgateError `invalid_request` for an unknown status or a cursor of another list
 */
export async function listStripeEvents(
  context: Context,
  { status, cursor, limit }: { status?: string | undefined; cursor?: string | undefined; limit: number },
): Promise<StripeEventPage> {
  const wanted = status === undefined ? null : StripeEventStatus[status as StripeEventStatus];
  if (wanted === undefined) {
    throw invalidField('query.status', `must be one of ${Object.keys(StripeEventStatus).join(', ')}`);
  }
  const before = cursor === undefined ? null : parseCursor(cursor);
  const rows = await listEvents(context.pool, { status: wanted, before, limit: limit + 1 });
  const data = rows.slice(0, limit);
  const last = rows.length > limit ? data.at(-1) : undefined;
  return { data: data.map(view), nextCursor: last ? cursorOf(last) : null };
}

const cursorOf = ({ receivedAt, id }: InboxRow): string =>
  Buffer.from(JSON.stringify(['stripe-events', receivedAt.toISOString(), id])).toString('base64url');

function parseCursor(cursor: string): { receivedAt: Date; id: string } {
  try {
    const parsed = cursorShape.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')));
    return { receivedAt: new Date(parsed[1]), id: parsed[2] };
  } catch {
    throw invalidField('query.cursor', 'is none of this list: take nextCursor as it was given');
  }
}

/** @throws TollgateError `not_found` */
export async function readStripeEvent(context: Context, id: string): Promise<StripeEventView> {
  const row = await findEvent(context.pool, id);
  if (!row) throw notFound('Stripe event');
  return view(row);
}

/** Handles an event again from the start; what it has done before is not done twice. */
export async function replayStripeEvent(
  context: Context,
  id: string,
  actor: string,
): Promise<StripeEventView> {
  const now = context.clock.now();
  await inTransaction(context.pool, async (tx) => {
    if (!(await resetEvent(tx, id, now))) throw notFound('Stripe event');
    await recordAudit(tx, {
      actor,
      action: 'replay_stripe_event',
      userId: null,
      subject: id,
      reason: null,
      now,
    });
  });
  context.jobs.wake({ name: 'handle-stripe-event', eventId: id });
  return readStripeEvent(context, id);
}

function view(row: InboxRow): StripeEventView {
  return {
    id: row.id,
    type: row.type,
    status: row.status,
    origin: row.origin,
    objectId: row.objectId,
    customerId: row.customerId,
    userId: row.userId,
    livemode: row.livemode,
    apiVersion: row.apiVersion,
    deliveries: row.deliveries,
    attempts: row.attempts,
    outcome: row.outcome,
    lastError: row.lastError,
    createdAt: row.createdAt.toISOString(),
    receivedAt: row.receivedAt.toISOString(),
    nextAttemptAt: row.nextAttemptAt.toISOString(),
    handledAt: row.handledAt?.toISOString() ?? null,
  };
}

const POLL_MS = 10;
const PATIENCE_MS = 5_000;

/** Waits until no event waits for its first handling, or for five seconds: a worker that is down must not stop time. */
export async function eventsHandled({ pool }: Pick<Context, 'pool'>): Promise<void> {
  for (let waitedMs = 0; waitedMs < PATIENCE_MS && (await hasFreshEvents(pool)); waitedMs += POLL_MS) {
    await delay(POLL_MS);
  }
}
