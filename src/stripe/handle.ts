/** From a row of the inbox to its effects; every row ends handled, ignored, waiting, or visibly failed. */
import type { Context } from '../context.ts';
import { findEvent, type InboxRow, markHandled, markUnhandled } from '../store/inbox.ts';
import { UserParkedError } from '../store/parking.ts';
import { UnknownCustomerError } from './customers.ts';
import { alertOf, SYNCS } from './events.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const MAX_ATTEMPTS = 10;

/**
 * Handles one event of the inbox, whatever happened to it before; handling it twice has one effect.
 * @throws what went wrong, after it was noted on the row with the time of the next attempt
 */
export async function handleStripeEvent(context: Context, eventId: string): Promise<void> {
  const event = await findEvent(context.pool, eventId);
  if (!event) {
    context.log.warn({ eventId }, 'A job points at an event that is not in the inbox');
    return;
  }
  if (event.status === 'handled' || event.status === 'ignored') return;
  try {
    await dispatch(context, event);
  } catch (error) {
    if (error instanceof UnknownCustomerError || error instanceof UserParkedError) {
      await park(context, event, error);
    } else {
      await noteFailure(context, event, error);
      throw error;
    }
  }
}

async function dispatch(context: Context, event: InboxRow): Promise<void> {
  const sync = SYNCS[event.type];
  const ignore = (outcome: string): Promise<void> =>
    markHandled(context.pool, event.id, {
      status: 'ignored',
      outcome,
      userId: null,
      now: context.clock.now(),
    });
  if (!sync) return ignore('no type that we act on');
  if (event.objectId === null) return ignore('the event names no object');
  alertOf(context, event);
  const isOurs = await sync(context, event.objectId, event.id);
  if (isOurs === null) await ignore('nothing of ours');
}

/**
 * Its customer is nobody's yet, or its user's ledger wants mending first: later, at growing distances, and never dropped
 * (stripe.md B4).
 */
async function park(
  context: Context,
  event: InboxRow,
  error: UnknownCustomerError | UserParkedError,
): Promise<void> {
  const now = context.clock.now();
  const wait = Math.min(MINUTE_MS * 2 ** Math.min(event.attempts, 20), DAY_MS);
  await markUnhandled(context.pool, event.id, {
    status: 'parked',
    error: error.message,
    nextAttemptAt: new Date(now.getTime() + wait),
    ...(error instanceof UserParkedError ? { userId: error.userId } : {}),
  });
  if (now.getTime() - event.receivedAt.getTime() < DAY_MS) return;
  const subject = { alert: 'event_parked', eventId: event.id, type: event.type, reason: error.message };
  context.log.error(subject, 'An event has waited for a day for its customer or its user');
}

async function noteFailure(context: Context, event: InboxRow, error: unknown): Promise<void> {
  const isLast = event.attempts + 1 >= MAX_ATTEMPTS;
  const wait = Math.min((MINUTE_MS / 2) * 2 ** event.attempts, DAY_MS / 4);
  const subject = { err: error, eventId: event.id, type: event.type, attempt: event.attempts + 1 };
  if (isLast) context.log.error({ alert: 'event_failed', ...subject }, 'An event was given up: replay it');
  else context.log.warn(subject, 'An event could not be handled; it will be tried again');
  await markUnhandled(context.pool, event.id, {
    status: isLast ? 'failed' : 'pending',
    error: error instanceof Error ? error.message : String(error),
    nextAttemptAt: new Date(context.clock.now().getTime() + wait),
  });
}
