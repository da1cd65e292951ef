import { invalid } from '../errors.ts';
import type { Invoice, Price, Subscription } from '../wire.ts';
import { callApi } from './api.ts';
import { mainItem, offeredPrices, type Visit } from './portal-session.ts';

export interface Wanted {
  price: Price;
  quantity: number;
}

export function wanted(visit: Visit, subscription: Subscription): Wanted {
  const { world, asked, session } = visit;
  const item = mainItem(subscription);
  // What the caller's own flow names need not be on the list that people choose from.
  const fixed = session.flow?.subscription_update_confirm?.items[0]?.price;
  const price =
    asked.price === fixed && fixed != null
      ? world.state.prices.get(fixed)
      : offeredPrices(visit, subscription).find((one) => one.id === asked.price);
  if (price === undefined) throw invalid('This plan is not offered.', { param: 'price' });
  return { price, quantity: asked.quantity === undefined ? (item.quantity ?? 1) : Number(asked.quantity) };
}

export function changeParams(visit: Visit, subscription: Subscription) {
  const { price, quantity } = wanted(visit, subscription);
  return {
    items: [{ id: mainItem(subscription).id, price: price.id, quantity: String(quantity) }],
    proration_behavior: visit.configuration.features.subscription_update.proration_behavior,
  };
}

const DAYS = { day: 1, week: 7, month: 30, year: 365 } as const;

const lengthOf = ({ recurring }: Price): number =>
  DAYS[recurring?.interval as keyof typeof DAYS] * (recurring?.interval_count ?? 1);

/** A downgrade that the configuration puts off to the end of the period (stripe.md A1, `schedule`). */
export function isDeferred(visit: Visit, subscription: Subscription): boolean {
  const { price, quantity } = wanted(visit, subscription);
  const item = mainItem(subscription);
  const before = (item.price.unit_amount ?? 0) * (item.quantity ?? 1);
  const { conditions } = visit.configuration.features.subscription_update.schedule_at_period_end;
  return conditions.some(({ type }) =>
    type === 'shortening_interval'
      ? lengthOf(price) < lengthOf(item.price)
      : type === 'decreasing_item_amount' &&
        lengthOf(price) === lengthOf(item.price) &&
        (price.unit_amount ?? 0) * quantity < before,
  );
}

export function scheduleChange(visit: Visit, subscription: Subscription): void {
  const { world } = visit;
  const { price, quantity } = wanted(visit, subscription);
  const item = mainItem(subscription);
  const current = subscription.schedule as string | null;
  const id =
    current ??
    (
      callApi(world, 'POST', '/v1/subscription_schedules', { from_subscription: subscription.id }) as {
        id: string;
      }
    ).id;
  const phase = world.state.schedules.get(id)?.current_phase;
  const discounts = subscription.discounts.map((discount) => ({ discount }));
  const kept = discounts.length === 0 ? {} : { discounts };
  callApi(world, 'POST', `/v1/subscription_schedules/${id}`, {
    end_behavior: 'release',
    phases: [
      {
        items: [{ price: item.price.id, quantity: String(item.quantity ?? 1) }],
        start_date: String(phase?.start_date ?? item.current_period_start),
        end_date: String(item.current_period_end),
        ...kept,
      },
      { items: [{ price: price.id, quantity: String(quantity) }], iterations: '1', ...kept },
    ],
  });
}

/** What the change costs, computed by the API's own preview. */
export function preview(visit: Visit, subscription: Subscription): Invoice {
  const { items, proration_behavior: behavior } = changeParams(visit, subscription);
  return callApi(visit.world, 'POST', '/v1/invoices/create_preview', {
    subscription: subscription.id,
    subscription_details: { items, proration_behavior: behavior },
  }) as Invoice;
}
