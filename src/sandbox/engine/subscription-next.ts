import { invalid } from '../errors.ts';
import { planOf } from '../resources/price-object.ts';
import type { InvoiceItem, Price, Subscription, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';
import { remainingTime, unusedTime } from './proration.ts';
import { buildItem, checkRecurring, periodOf } from './subscription-object.ts';

export interface ItemChange {
  id: string | undefined;
  price: Price | undefined;
  quantity: number | undefined;
  metadata: Record<string, string> | undefined;
  discounts?: string[] | undefined;
  deleted: boolean;
}

export type ProrationBehavior = 'create_prorations' | 'always_invoice' | 'none';

export interface ChangeRequest {
  changes: ItemChange[];
  prorationBehavior: ProrationBehavior;
  prorationDate: number;
  resetAnchor: boolean;
  trialEnd?: number | 'now' | undefined;
  /** A phase that begins as a period ends: the items keep that end, for the renewal to find. */
  keepPeriods?: { end: number } | undefined;
}

/** What a subscription becomes and what has to be billed for it; a preview and the change itself share it. */
export interface NextShape {
  changes: Partial<Subscription>;
  items: SubscriptionItem[];
  prorations: InvoiceItem[];
  /** Items whose period starts over and is billed in full at once. */
  restarted: SubscriptionItem[];
  invoiceNow: boolean;
}

function changedItem(
  world: World,
  subscription: Subscription,
  change: ItemChange,
  index: number,
  current: SubscriptionItem | undefined,
): SubscriptionItem {
  const param = `items[${index}][price]`;
  const price = change.price ?? current?.price;
  if (price === undefined)
    throw invalid(`Missing required param: ${param}.`, { code: 'parameter_missing', param });
  checkRecurring(price, subscription.currency, param);
  const period = {
    start: current?.current_period_start ?? world.now(),
    end: current?.current_period_end ?? world.now(),
  };
  const item = buildItem(
    world,
    subscription.id,
    {
      price,
      quantity: change.quantity ?? current?.quantity ?? 1,
      metadata: change.metadata ?? current?.metadata ?? {},
    },
    period,
    current?.id,
  );
  const discounts = change.discounts ?? current?.discounts ?? [];
  return { ...item, created: current?.created ?? item.created, discounts: [...discounts] };
}

function changedItems(
  world: World,
  subscription: Subscription,
  changes: readonly ItemChange[],
): SubscriptionItem[] {
  const items = new Map(subscription.items.data.map((item) => [item.id, structuredClone(item)]));
  changes.forEach((change, index) => {
    const current = change.id === undefined ? undefined : items.get(change.id);
    if (change.id !== undefined && current === undefined)
      throw invalid(`No such subscription item: '${change.id}'`, {
        code: 'resource_missing',
        param: `items[${index}][id]`,
      });
    if (change.deleted && change.id !== undefined) items.delete(change.id);
    else {
      const item = changedItem(world, subscription, change, index, current);
      items.set(item.id, item);
    }
  });
  if (items.size === 0)
    throw invalid('A subscription must have at least one active plan.', {
      code: 'subscription_item_missing',
      param: 'items',
    });
  return [...items.values()];
}

/** How time changes: a trial that starts, ends or moves, an anchor set to now, or nothing of it. */
function times(world: World, subscription: Subscription, request: ChangeRequest) {
  const now = world.now();
  const trialing = subscription.status === 'trialing';
  const { trialEnd } = request;
  if (typeof trialEnd === 'number' && trialEnd > now)
    return { anchor: trialEnd, trialEnd, restarts: false, startsTrial: !trialing };
  if (trialing && trialEnd === 'now')
    return { anchor: now, trialEnd: null, restarts: true, startsTrial: false };
  if (trialing)
    return {
      anchor: subscription.billing_cycle_anchor,
      trialEnd: subscription.trial_end,
      restarts: false,
      startsTrial: false,
    };
  const anchor = request.resetAnchor ? now : subscription.billing_cycle_anchor;
  return { anchor, trialEnd: null, restarts: request.resetAnchor, startsTrial: false };
}

const sameBilling = (a: SubscriptionItem, b: SubscriptionItem | undefined): boolean =>
  a.price.id === b?.price.id && a.quantity === b.quantity && a.current_period_end === b.current_period_end;

/** Credit for what was billed and is no longer used, a charge for what is used from now on. */
function prorationsOf(
  world: World,
  subscription: Subscription,
  next: readonly SubscriptionItem[],
  at: number,
  restarts: boolean,
): InvoiceItem[] {
  const credits = subscription.items.data
    .filter(
      (item) =>
        restarts ||
        !sameBilling(
          item,
          next.find((one) => one.id === item.id),
        ),
    )
    .flatMap((item) => unusedTime(world, subscription, item, at) ?? []);
  if (restarts) return credits;
  const debits = next
    .filter(
      (item) =>
        !sameBilling(
          item,
          subscription.items.data.find((one) => one.id === item.id),
        ),
    )
    .map((item) => remainingTime(world, subscription, item, at));
  return [...credits, ...debits];
}

export function shapeOf(subscription: Subscription, data: SubscriptionItem[]): Partial<Subscription> {
  const first = data.length === 1 ? data[0] : undefined;
  return {
    items: { ...subscription.items, data, total_count: data.length },
    plan: first === undefined ? null : planOf(first.price),
    quantity: first?.quantity ?? null,
  };
}

function checkDate(subscription: Subscription, at: number, now: number): void {
  const start = Math.min(...subscription.items.data.map((item) => item.current_period_start));
  const end = Math.max(...subscription.items.data.map((item) => item.current_period_end));
  if (at !== now && (at < start || at > end))
    throw invalid('Proration date must be within the current billing period.', { param: 'proration_date' });
}

function withPeriods(
  world: World,
  subscription: Subscription,
  items: SubscriptionItem[],
  time: ReturnType<typeof times>,
  request: ChangeRequest,
): SubscriptionItem[] {
  const now = world.now();
  const wasTrialing = subscription.status === 'trialing';
  return items.map((item) => {
    if (time.trialEnd !== null) {
      const start = wasTrialing ? item.current_period_start : now;
      return { ...item, current_period_start: start, current_period_end: time.trialEnd };
    }
    const { keepPeriods } = request;
    if (keepPeriods !== undefined) return { ...item, current_period_end: keepPeriods.end };
    const period = periodOf(item.price, time.anchor, now, null);
    return { ...item, current_period_start: period.start, current_period_end: period.end };
  });
}

export function nextShape(world: World, subscription: Subscription, request: ChangeRequest): NextShape {
  const now = world.now();
  const at = request.prorationDate;
  checkDate(subscription, at, now);
  const time = times(world, subscription, request);
  const edited = changedItems(world, subscription, request.changes);
  const moves = time.restarts || time.startsTrial || time.trialEnd !== null;
  const untouched = new Set(subscription.items.data.map((item) => item.id));
  for (const change of request.changes) untouched.delete(change.id ?? '');
  // An item that nobody touched keeps its running period, which may differ from the others'.
  const items = withPeriods(world, subscription, edited, time, request).map((item, index) =>
    moves || !untouched.has(item.id) ? item : (edited[index] ?? item),
  );
  const trial = subscription.status === 'trialing';
  const stays = trial && !time.restarts;
  const prorates = request.prorationBehavior !== 'none' && !trial;
  const prorations =
    !prorates || stays
      ? []
      : prorationsOf(
          world,
          subscription,
          time.startsTrial ? [] : items,
          at,
          time.restarts || time.startsTrial,
        );
  const restarted = time.restarts ? items : [];
  return {
    changes: {
      ...shapeOf(subscription, items),
      billing_cycle_anchor: time.anchor,
      ...trialChanges(subscription, request, time, now),
    },
    items,
    prorations,
    restarted,
    invoiceNow:
      restarted.length > 0 || (request.prorationBehavior === 'always_invoice' && prorations.length > 0),
  };
}

function trialChanges(
  subscription: Subscription,
  { trialEnd }: ChangeRequest,
  time: ReturnType<typeof times>,
  now: number,
): Partial<Subscription> {
  if (trialEnd === 'now') return time.restarts ? { trial_end: now, status: 'active' } : {};
  if (trialEnd === undefined || time.trialEnd === null) return {};
  return {
    trial_end: time.trialEnd,
    trial_start: subscription.status === 'trialing' ? subscription.trial_start : now,
    status: 'trialing',
  };
}
