import { DAY } from '../calendar.ts';
import { invalid } from '../errors.ts';
import type { Subscription, SubscriptionSchedule } from '../wire.ts';
import type { World } from '../world.ts';
import { couponById } from './discounts.ts';
import type { Phase } from './schedule-object.ts';
import { createSubscription, redeemAll } from './subscription-create.ts';
import { endSubscription } from './subscription-end.ts';
import type { ItemChange, ProrationBehavior } from './subscription-next.ts';
import type { NewItem, Redemption } from './subscription-object.ts';
import { planVisit } from './subscription-times.ts';
import { changeSubscription } from './subscription-update.ts';

const EXPIRY_NOTICE_DAYS = 7;

export function checkOpen(schedule: SubscriptionSchedule, verb: string): void {
  if (schedule.status === 'active' || schedule.status === 'not_started') return;
  throw invalid(
    `You cannot ${verb} a subscription schedule that is currently in the \`${schedule.status}\` status. It must be in \`not_started\` or \`active\` status.`,
  );
}

const phaseAt = (schedule: SubscriptionSchedule, at: number): Phase | undefined =>
  schedule.phases.find((phase) => phase.start_date <= at && at < phase.end_date);

function itemsOf(world: World, phase: Phase): NewItem[] {
  return phase.items.flatMap((item) => {
    const price = world.state.prices.get(item.price);
    return price === undefined
      ? []
      : [{ price, quantity: item.quantity ?? 1, metadata: item.metadata ?? {} }];
  });
}

function redemptionsOf(world: World, phase: Phase): Redemption[] {
  return phase.discounts.flatMap(({ coupon: id, promotion_code: code, discount }) => {
    const promotion = world.state.promotionCodes.get(code ?? '');
    const coupon = world.state.coupons.get(id ?? promotion?.promotion.coupon ?? '');
    const kept = world.state.discounts.get(discount ?? '');
    const redeemed = coupon ?? couponById(world, kept?.source.coupon ?? '');
    return redeemed === undefined ? [] : [{ coupon: redeemed, promotionCode: code, discount }];
  });
}

function planPhase(world: World, schedule: SubscriptionSchedule): void {
  const { current_phase: current } = schedule;
  const next = current?.end_date ?? schedule.phases[0]?.start_date;
  if (next !== undefined) planVisit(world, schedule.id, next);
  const end = schedule.phases.at(-1)?.end_date;
  if (end !== undefined && end - EXPIRY_NOTICE_DAYS * DAY > world.now())
    planVisit(world, schedule.id, end - EXPIRY_NOTICE_DAYS * DAY);
}

function start(world: World, schedule: SubscriptionSchedule, phase: Phase): void {
  const customer = world.state.customers.get(schedule.customer);
  if (customer === undefined) return;
  const method = phase.collection_method ?? schedule.default_settings.collection_method;
  const sends = method === 'send_invoice';
  const { subscription } = createSubscription(world, {
    customer,
    items: itemsOf(world, phase),
    metadata: phase.metadata ?? {},
    description: phase.description,
    defaultPaymentMethod:
      phase.default_payment_method ?? schedule.default_settings.default_payment_method ?? null,
    trialEnd: phase.trial_end,
    cancelAt: null,
    redemptions: redemptionsOf(world, phase),
    // A schedule runs by itself: without a way to pay it starts all the same and waits for its payment.
    paymentBehavior: 'default_incomplete',
    collectionMethod: sends ? 'send_invoice' : 'charge_automatically',
    daysUntilDue: phase.invoice_settings?.days_until_due ?? null,
    schedule: schedule.id,
    activeAtOnce: true,
    onSession: false,
  });
  Object.assign(schedule, { status: 'active', subscription: subscription.id });
}

/** What was planned is planned from now on; announced by the caller. */
export function beginSchedule(world: World, schedule: SubscriptionSchedule): void {
  const phase = phaseAt(schedule, world.now());
  if (phase !== undefined) {
    schedule.current_phase = { start_date: phase.start_date, end_date: phase.end_date };
    if (schedule.subscription === null) start(world, schedule, phase);
  }
  planPhase(world, schedule);
}

function changesTo(world: World, subscription: Subscription, phase: Phase): ItemChange[] {
  const wanted = itemsOf(world, phase);
  const current = [...subscription.items.data];
  const changes: ItemChange[] = wanted.map((item) => {
    const same = current.findIndex((one) => one.price.id === item.price.id);
    const [kept] = current.splice(Math.max(same, 0), 1);
    return { id: kept?.id, ...item, metadata: item.metadata ?? {}, deleted: false };
  });
  for (const item of current)
    changes.push({ id: item.id, price: undefined, quantity: undefined, metadata: undefined, deleted: true });
  return changes;
}

/** A phase puts its items on the subscription; at a period's end there is nothing to prorate. */
export function enterPhase(world: World, schedule: SubscriptionSchedule, phase: Phase): void {
  const subscription = world.state.subscriptions.get(schedule.subscription ?? '');
  if (subscription === undefined || subscription.ended_at !== null) return;
  const atEnd = subscription.items.data.every((item) => item.current_period_end <= world.now());
  const changes = changesTo(world, subscription, phase);
  if (atEnd) replaceItems(world, subscription, changes, phase);
  else
    changeSubscription(world, subscription, {
      changes,
      prorationBehavior: phase.proration_behavior as ProrationBehavior,
      prorationDate: world.now(),
      resetAnchor: phase.billing_cycle_anchor === 'phase_start',
      paymentBehavior: 'allow_incomplete',
      offSession: true,
      trialEnd: phase.trial_end ?? undefined,
      fields: phaseFields(world, subscription, phase),
    });
}

function phaseFields(world: World, subscription: Subscription, phase: Phase): Partial<Subscription> {
  return {
    // A phase that names none leaves the subscription with its customer's (SubscriptionScheduleUpdateParams).
    discounts: redeemAll(world, redemptionsOf(world, phase), {
      customer: subscription.customer,
      subscription: subscription.id,
    }),
    metadata: { ...subscription.metadata, ...phase.metadata },
    ...(phase.description === null ? {} : { description: phase.description }),
    ...(phase.default_payment_method === null
      ? {}
      : { default_payment_method: phase.default_payment_method }),
  };
}

/** The running period is over: the renewal that follows bills the new items (same instant, next job). */
function replaceItems(world: World, subscription: Subscription, changes: ItemChange[], phase: Phase): void {
  changeSubscription(world, subscription, {
    changes,
    prorationBehavior: 'none',
    prorationDate: world.now(),
    resetAnchor: false,
    paymentBehavior: 'allow_incomplete',
    fields: phaseFields(world, subscription, phase),
    keepPeriods: { end: world.now() },
  });
}

/** What falls due on a schedule: its start, its next phase, its end, the notice of that. */
export function visitSchedule(world: World, schedule: SubscriptionSchedule): void {
  const now = world.now();
  if (schedule.status === 'not_started') {
    const first = schedule.phases[0];
    if (first === undefined || first.start_date > now) return;
    beginSchedule(world, schedule);
    world.emit('subscription_schedule.updated', schedule, { status: 'not_started', current_phase: null });
    return;
  }
  if (schedule.status !== 'active' || schedule.current_phase === null) return;
  const last = schedule.phases.at(-1)?.end_date ?? 0;
  if (last - EXPIRY_NOTICE_DAYS * DAY === now) world.emit('subscription_schedule.expiring', schedule);
  if (schedule.current_phase.end_date > now) return;
  const next = phaseAt(schedule, now);
  if (next === undefined) {
    finish(world, schedule);
    return;
  }
  world.update('subscription_schedule.updated', schedule, {
    current_phase: { start_date: next.start_date, end_date: next.end_date },
  });
  enterPhase(world, schedule, next);
  planPhase(world, schedule);
}

/** Its last phase is over: the subscription ends with it or goes on alone. */
function finish(world: World, schedule: SubscriptionSchedule): void {
  const subscription = world.state.subscriptions.get(schedule.subscription ?? '');
  Object.assign(schedule, { status: 'completed', completed_at: world.now(), current_phase: null });
  if (schedule.end_behavior !== 'cancel') detach(world, schedule, subscription);
  else if (subscription !== undefined && subscription.ended_at === null)
    endSubscription(world, subscription, null);
  world.emit('subscription_schedule.completed', schedule);
}

function detach(world: World, schedule: SubscriptionSchedule, subscription: Subscription | undefined): void {
  Object.assign(schedule, {
    current_phase: null,
    released_at: world.now(),
    released_subscription: schedule.subscription,
    subscription: null,
  } satisfies Partial<SubscriptionSchedule>);
  if (subscription !== undefined)
    world.update('customer.subscription.updated', subscription, { schedule: null });
}

export function releaseSchedule(world: World, schedule: SubscriptionSchedule): void {
  schedule.status = 'released';
  detach(world, schedule, world.state.subscriptions.get(schedule.subscription ?? ''));
  world.emit('subscription_schedule.released', schedule);
}

/** Ends the schedule and what it scheduled; a schedule that never started has nothing to end. */
export function cancelSchedule(
  world: World,
  schedule: SubscriptionSchedule,
  endNow: (subscription: Subscription) => void,
): void {
  const subscription = world.state.subscriptions.get(schedule.subscription ?? '');
  Object.assign(schedule, { status: 'canceled', canceled_at: world.now(), current_phase: null });
  if (subscription !== undefined && subscription.ended_at === null) endNow(subscription);
  world.emit('subscription_schedule.canceled', schedule);
  // The CLI's way to provoke an abort is to cancel a schedule before its start (stripe.md E1).
  if (subscription === undefined) world.emit('subscription_schedule.aborted', schedule);
}
