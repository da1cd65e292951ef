/** Why a ledger entry is there: its grants, what was paid for them, the Stripe events and the request behind it. */
import type { Context } from '../context.ts';
import { notFound } from '../errors.ts';
import {
  findGrantFacts,
  type GrantFacts,
  type HandledEvent,
  listEventsAbout,
} from '../store/explanations.ts';
import { findHold } from '../store/grants.ts';
import { holdIdOf, parseEntryId } from '../store/ids.ts';
import { findEntry, listEntriesReferringTo, type StoredEntry } from '../store/ledger.ts';
import { entryView } from './lists.ts';
import { userNow } from './users.ts';

/** @throws TollgateError `not_found` for an entry that is none of this user's */
export async function explainEntry(
  context: Context,
  userId: string,
  entryId: string,
): Promise<Record<string, unknown>> {
  await userNow(context, userId);
  const place = parseEntryId(entryId);
  const entry = place?.userId === userId ? await findEntry(context.pool, userId, place.seq) : undefined;
  if (!entry) throw notFound('ledger entry');
  const grants = await findGrantFacts(
    context.pool,
    userId,
    entry.parts.map(({ grantId }) => grantId),
  );
  const events = await eventsAbout(context, userId, grants);
  const behind = events.filter(
    (event) => grants.some((grant) => ledToGrant(event, grant)) || ledToEntry(event, entry, grants),
  );
  return {
    ...entryView(userId, entry),
    availableAfter: entry.availableAfter,
    totalUsedAfter: entry.totalUsedAfter,
    debtDeltaTokens: entry.debtDeltaTokens,
    requestId: entry.requestId,
    grants: grantsOf(entry, grants, events),
    stripeEventIds: behind.map(({ id }) => id),
    ...(await relationsOf(context, userId, entry)),
  };
}

/** In the order of burning, each with what the entry changed in it. */
function grantsOf(entry: StoredEntry, grants: readonly GrantFacts[], events: readonly HandledEvent[]) {
  return entry.parts.flatMap((part) => {
    const grant = grants.find(({ id }) => id === part.grantId);
    return grant ? [grantView(part.tokens, grant, events)] : [];
  });
}

function grantView(tokens: number, grant: GrantFacts, events: readonly HandledEvent[]) {
  return {
    grantId: grant.id,
    tokens,
    source: grant.source,
    key: grant.key,
    amountTokens: grant.amountTokens,
    offer: grant.offer,
    reason: grant.reason,
    windowStart: grant.windowStart?.toISOString() ?? null,
    windowEnd: grant.windowEnd?.toISOString() ?? null,
    effectiveAt: grant.effectiveAt.toISOString(),
    expiresAt: grant.expiresAt?.toISOString() ?? null,
    invoiceId: grant.invoiceId,
    invoiceLineId: grant.invoiceLineId,
    checkoutSessionId: grant.checkoutSessionId,
    subscriptionId: grant.subscriptionId,
    costBasisMinor: grant.costBasisMinor,
    currency: grant.currency,
    stripeEventIds: events.filter((event) => ledToGrant(event, grant)).map(({ id }) => id),
  };
}

async function relationsOf({ pool }: Context, userId: string, entry: StoredEntry) {
  const hold = entry.holdId === null ? undefined : await findHold(pool, userId, entry.holdId);
  const refersTo = entry.refersToSeq === null ? undefined : await findEntry(pool, userId, entry.refersToSeq);
  const referredToBy = await listEntriesReferringTo(pool, userId, entry.seq);
  return {
    hold: hold
      ? {
          holdId: holdIdOf(userId, hold.id),
          status: hold.status,
          tokens: hold.tokens,
          capturedTokens: hold.capturedTokens,
          createdAt: hold.createdAt.toISOString(),
          settledAt: hold.settledAt?.toISOString() ?? null,
        }
      : null,
    refersTo: refersTo ? entryView(userId, refersTo) : null,
    referredToBy: referredToBy.map((other) => entryView(userId, other)),
  };
}

/** The invoice, or the Checkout session, by which a grant was paid. */
const paymentOf = (grant: GrantFacts): string | null => grant.invoiceId ?? grant.checkoutSessionId;

/** The key of the paid line behind a grant; the months of an annual line share it. */
const lineKeyOf = (grant: GrantFacts): string =>
  grant.invoiceId === null ? grant.key : `inv:${grant.invoiceId}:${grant.invoiceLineId}`;

async function eventsAbout(
  { pool }: Context,
  userId: string,
  grants: readonly GrantFacts[],
): Promise<HandledEvent[]> {
  const bought = grants.filter((grant) => paymentOf(grant) !== null);
  if (bought.length === 0) return [];
  return listEventsAbout(pool, userId, {
    objectIds: bought.flatMap((grant) => paymentOf(grant) ?? []),
    names: bought.flatMap((grant) => [lineKeyOf(grant), grant.subscriptionId ?? []].flat()),
  });
}

/** Whether an outcome (stripe/apply.ts: items apart by `; `) has an item about `name`. */
function names({ outcome }: HandledEvent, name: string): boolean {
  return outcome.split('; ').some((item) => item.startsWith(`${name} `) || item.startsWith(`${name}:`));
}

/** It points at the very payment; or handling it did something for the line, and it was there before the grant. */
function ledToGrant(event: HandledEvent, grant: GrantFacts): boolean {
  const payment = paymentOf(grant);
  if (payment === null) return false;
  const isEarlier = event.receivedAt <= grant.createdAt;
  return event.objectId === payment || (isEarlier && names(event, lineKeyOf(grant)));
}

/**
 * Its handling wrote the entry: it did something for the line of one of the grants (a payment refund) and was under way
 * at that time, or it did something for their subscription (its end) at that very time, which is the one of their common
 * transaction. A replay moves the time of handling forward.
 */
function ledToEntry(event: HandledEvent, entry: StoredEntry, grants: readonly GrantFacts[]): boolean {
  const at = entry.createdAt;
  if (entry.type === 'consumed' || entry.type === 'refunded') return false;
  if (entry.requestId !== null || event.receivedAt > at || event.handledAt < at) return false;
  const isOfThen = event.handledAt.getTime() === at.getTime();
  return grants.some(
    (grant) =>
      names(event, lineKeyOf(grant)) ||
      (isOfThen && grant.subscriptionId !== null && names(event, grant.subscriptionId)),
  );
}
