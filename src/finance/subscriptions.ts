/** Stripe's subscriptions against our snapshots of them. */
import { difference, sidesOf } from '../domain/differences.ts';
import type { SubscriptionState } from '../domain/subscription.ts';
import { findSubscriptionsById, listSubscriptionPlaces, START } from '../store/books.ts';
import { type BulkReader, subscriptionPages } from '../stripe/bulk.ts';
import { isMissing } from '../stripe/client.ts';
import type { SubscriptionShape } from '../stripe/shapes.ts';
import { snapshotOf } from '../stripe/snapshot.ts';
import type { Check } from './findings.ts';
import { ownersOf } from './owners.ts';

const PAGE = 500;

const FIELDS = [
  'customerId',
  'status',
  'plan',
  'priceId',
  'interval',
  'quantity',
  'itemId',
  'currentPeriodStart',
  'currentPeriodEnd',
  'trialEnd',
  'cancelAt',
  'canceledAt',
  'endedAt',
  'startedAt',
] as const satisfies readonly (keyof SubscriptionState)[];

/** @returns how many Stripe has */
export async function compareSubscriptions(check: Check): Promise<number> {
  let count = 0;
  const customers = check.user === null ? [undefined] : check.user.customerIds;
  for (const customer of customers) {
    for await (const page of subscriptionPages(check.reader, customer === undefined ? {} : { customer })) {
      count += page.length;
      await comparePage(check, page);
    }
  }
  return count;
}

async function comparePage(check: Check, page: readonly SubscriptionShape[]): Promise<void> {
  const { findings, context } = check;
  await findings.see(page.map(({ id }) => id));
  const isOurs = (one: SubscriptionShape) => snapshotOf(context.catalogue, one, undefined).plan !== null;
  const owners = await ownersOf(
    check,
    page.map((one) => ({ customerId: one.customer, mayAsk: isOurs(one) })),
  );
  const known = await findSubscriptionsById(
    context.pool,
    [...owners.values()],
    page.map(({ id }) => id),
  );
  for (const theirs of page)
    await compareOne(check, theirs, owners.get(theirs.customer), known.get(theirs.id));
}

async function compareOne(
  { findings, context }: Check,
  subscription: SubscriptionShape,
  userId: string | undefined,
  ours: SubscriptionState | undefined,
): Promise<void> {
  const theirs = snapshotOf(context.catalogue, subscription, ours);
  const stripeSide = { ...pickSide(theirs), lookupKey: theirs.lookupKey };
  const subject = { subscriptionId: theirs.id, userId: userId ?? null };
  if (userId === undefined) {
    // Another product's customer is none of ours.
    if (theirs.plan === null || theirs.status === 'incomplete_expired') return;
    const side = {
      customerId: theirs.customerId,
      subscriptionId: theirs.id,
      status: theirs.status,
      plan: theirs.plan,
    };
    await findings.add([
      difference({
        kind: 'unknown_customer',
        subjectId: theirs.customerId,
        ...subject,
        stripeSide: side,
        moneyMinor: 0,
      }),
    ]);
    return;
  }
  if (!ours) {
    await findings.add([
      difference({ kind: 'lost_subscription', subjectId: theirs.id, ...subject, stripeSide, moneyMinor: 0 }),
    ]);
    return;
  }
  const sides = sidesOf(theirs, ours, FIELDS);
  if (!sides) return;
  await findings.add([
    difference({ kind: 'stale_subscription', subjectId: theirs.id, ...subject, ...sides }),
  ]);
}

function pickSide(theirs: SubscriptionState): Record<string, unknown> {
  return Object.fromEntries(FIELDS.map((field) => [field, theirs[field]]));
}

/** Ours that Stripe has not listed. @returns how many we have */
export async function findExtraSubscriptions(check: Check): Promise<number> {
  const { context, findings, reader } = check;
  const userId = check.user?.id ?? null;
  let count = 0;
  let after = START;
  for (;;) {
    const places = await listSubscriptionPlaces(context.pool, after, PAGE, userId);
    count += places.length;
    const unseen = new Set(await findings.unseen(places.map(({ id }) => id)));
    for (const place of places) {
      if (!unseen.has(place.id) || !(await isGone(reader, place.id))) continue;
      const subject = { subscriptionId: place.id, userId: place.userId };
      await findings.add([
        difference({
          kind: 'extra_subscription',
          subjectId: place.id,
          ...subject,
          ourSide: { subscriptionId: place.id },
        }),
      ]);
    }
    const last = places.at(-1);
    if (!last || places.length < PAGE) return count;
    after = last;
  }
}

/** Made since the list was read, it is no difference. */
async function isGone({ stripe, pace }: BulkReader, subscriptionId: string): Promise<boolean> {
  await pace();
  try {
    await stripe.subscriptions.retrieve(subscriptionId);
    return false;
  } catch (error) {
    if (isMissing(error)) return true;
    throw error;
  }
}
