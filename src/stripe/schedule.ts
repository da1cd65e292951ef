/** A change of plan that waits for the period's end: Stripe's subscription schedules. */
import type Stripe from 'stripe';
import { z } from 'zod';
import type { Context } from '../context.ts';
import { planOfPrice } from '../domain/plans.ts';
import type { KeyOf, LiveItem, LiveSubscription } from './live-subscription.ts';
import { fetchPrice } from './prices.ts';

const priceRef = z
  .union([z.string(), z.object({ id: z.string() })])
  .transform((value) => (typeof value === 'string' ? value : value.id));
const scheduleShape = z.object({
  current_phase: z.object({ start_date: z.int(), end_date: z.int() }).nullable(),
  phases: z.array(
    z.object({
      start_date: z.int(),
      items: z.array(z.object({ price: priceRef, quantity: z.int().nullish() })),
    }),
  ),
});

/** What is to come at a period's end. */
export interface PendingChange extends Record<string, unknown> {
  /** Null where the price is not in the catalogue. */
  plan: string | null;
  interval: string | null;
  quantity: number;
  effectiveAt: string;
}

/** The change that a schedule holds for `item`, the API's or the Portal's; null where its later phases change nothing. */
export async function pendingChangeOf(
  { stripe, catalogue }: Context,
  { schedule: scheduleId }: LiveSubscription,
  item: LiveItem,
): Promise<(PendingChange & { priceId: string }) | null> {
  if (scheduleId === null) return null;
  const schedule = scheduleShape.parse(await stripe.subscriptionSchedules.retrieve(scheduleId));
  const from = schedule.current_phase?.end_date ?? 0;
  for (const { start_date: at, items } of schedule.phases) {
    if (at < from) continue;
    const stays = items.some(
      ({ price, quantity }) => price === item.price.id && (quantity ?? 1) === (item.quantity ?? 1),
    );
    const next = items[0];
    if (stays || !next) continue;
    const price = await fetchPrice(stripe, next.price);
    return {
      priceId: next.price,
      plan: planOfPrice(catalogue, price?.lookupKey ?? null)?.plan ?? null,
      interval: price?.interval ?? null,
      quantity: next.quantity ?? 1,
      effectiveAt: new Date(at * 1000).toISOString(),
    };
  }
  return null;
}

/** A subscription under a schedule takes no change of its own end (Stripe refuses it), and none that would last. */
export async function releaseSchedule({ stripe }: Context, { schedule }: LiveSubscription): Promise<void> {
  if (schedule !== null) await stripe.subscriptionSchedules.release(schedule);
}

/**
 * Puts the new price on `item` when its period ends; until then everything stays, discounts included, which a phase
 * that does not name them would drop (https://docs.stripe.com/billing/subscriptions/subscription-schedules).
 */
export async function scheduleChange(
  { stripe }: Context,
  live: LiveSubscription,
  item: LiveItem,
  target: { priceId: string; quantity: number; interval: 'month' | 'year' },
  keyOf: KeyOf,
): Promise<void> {
  const made =
    live.schedule === null
      ? await stripe.subscriptionSchedules.create({ from_subscription: live.id }, keyOf('schedule'))
      : await stripe.subscriptionSchedules.retrieve(live.schedule);
  const present = live.items.data.map(({ price, quantity }) => ({
    price: price.id,
    quantity: quantity ?? 1,
  }));
  const next = live.items.data.map(({ id, price, quantity }) =>
    id === item.id
      ? { price: target.priceId, quantity: target.quantity }
      : { price: price.id, quantity: quantity ?? 1 },
  );
  const discounts = live.discounts.map((discount) => ({ discount }));
  const shared: Pick<Stripe.SubscriptionScheduleUpdateParams.Phase, 'discounts' | 'proration_behavior'> = {
    proration_behavior: 'none',
    ...(discounts.length === 0 ? {} : { discounts }),
  };
  const trial = live.status === 'trialing' && live.trial_end !== null ? { trial_end: live.trial_end } : {};
  await stripe.subscriptionSchedules.update(
    made.id,
    {
      end_behavior: 'release',
      proration_behavior: 'none',
      phases: [
        {
          ...shared,
          ...trial,
          items: present,
          start_date: made.current_phase?.start_date ?? item.current_period_start,
          end_date: item.current_period_end,
        },
        { ...shared, items: next, duration: { interval: target.interval, interval_count: 1 } },
      ],
    },
    keyOf('schedule-phases'),
  );
}
