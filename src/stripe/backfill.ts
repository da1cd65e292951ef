/** Events that were never delivered: read from Stripe's own list into the same inbox. And rows that nobody woke. */
import type { Context } from '../context.ts';
import { listDueEvents, readCursor, writeCursor } from '../store/inbox.ts';
import { HANDLED_EVENT_TYPES } from './events.ts';
import { pointerOf, storeEvent } from './webhook.ts';

const CURSOR = 'stripe-events';
const MINUTE_MS = 60_000;
/** Events may appear in the list a little late and share a second: the last stretch is read again. */
const OVERLAP_MS = 15 * MINUTE_MS;
/** On the first run: as long as Stripe goes on delivering by itself (https://docs.stripe.com/webhooks#retries). */
const FIRST_REACH_MS = 3 * 24 * 60 * MINUTE_MS;
const SWEEP_LIMIT = 500;
/** Stripe's limit for `types` (https://docs.stripe.com/api/events/list). */
const TYPES_A_CALL = 20;

/**
 * Takes in what Stripe lists since the cursor; one that is cut off starts at the same place again.
 * @param since instead of the cursor, which only moves if nothing between it and `since` is left unread; Stripe lists 30
 *   days (https://docs.stripe.com/api/events/list)
 * @returns how many were listed, and how many of them were new
 */
export async function backfillEvents(
  context: Context,
  since?: Date,
): Promise<{ received: number; added: number }> {
  const { pool, stripe, clock } = context;
  const cursor = await readCursor(pool, CURSOR);
  const start = cursor ? cursor.getTime() - OVERLAP_MS : clock.now().getTime() - FIRST_REACH_MS;
  const gte = Math.floor((since?.getTime() ?? start) / 1000);
  let received = 0;
  let added = 0;
  let newest: Date | undefined;
  for (let at = 0; at < HANDLED_EVENT_TYPES.length; at += TYPES_A_CALL) {
    const types = HANDLED_EVENT_TYPES.slice(at, at + TYPES_A_CALL);
    for await (const event of stripe.events.list({ types, created: { gte }, limit: 100 })) {
      received += 1;
      const pointer = pointerOf(event);
      if (!pointer) {
        const text = 'Stripe lists an event that we cannot read';
        context.log.error({ alert: 'unreadable_event', eventId: event.id }, text);
        continue;
      }
      if (await storeEvent(context, pointer, 'backfill')) added += 1;
      if (newest === undefined || pointer.createdAt > newest) newest = pointer.createdAt;
    }
  }
  // What lies between the cursor and a later `since` was not read: the next run by itself is to begin before it.
  if (gte * 1000 > start) return { received, added };
  // By Stripe's clock, not ours. Without any event the start is kept, so that the reach does not move on with time.
  await writeCursor(pool, CURSOR, newest ?? new Date(gte * 1000));
  return { received, added };
}

/** Wakes every event whose next attempt is due. @returns how many */
export async function sweepInbox(context: Context): Promise<number> {
  const due = await listDueEvents(context.pool, { now: context.clock.now(), limit: SWEEP_LIMIT });
  for (const eventId of due) context.jobs.wake({ name: 'handle-stripe-event', eventId });
  return due.length;
}
