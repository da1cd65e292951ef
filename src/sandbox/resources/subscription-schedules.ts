import { z } from 'zod';
import { buildPhase, buildSchedule, type Phase } from '../engine/schedule-object.ts';
import {
  beginSchedule,
  cancelSchedule,
  checkOpen,
  enterPhase,
  releaseSchedule,
} from '../engine/schedules.ts';
import { periodEnd, planVisit } from '../engine/subscription-times.ts';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  flag,
  given,
  inRange,
  integer,
  mergeMetadata,
  noParams,
  notModelled,
  pageParams,
  text,
  timeRange,
} from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { Subscription, SubscriptionSchedule } from '../wire.ts';
import type { World } from '../world.ts';
import { findCustomer } from './customer-object.ts';
import { phases, phasesOf, scheduleFields } from './schedule-params.ts';
import { cancelSubscription } from './subscription-changes.ts';
import { billingMode, prorationBehavior } from './subscription-params.ts';
import { findSubscription } from './subscriptions.ts';

const createParams = z.strictObject({
  ...scheduleFields,
  billing_mode: billingMode.optional(),
  customer: text.optional(),
  customer_account: notModelled,
  from_subscription: text.optional(),
  phases: phases.optional(),
  start_date: z.union([z.literal('now'), integer]).optional(),
});
const updateParams = z.strictObject({
  ...scheduleFields,
  phases: phases.optional(),
  proration_behavior: prorationBehavior.optional(),
});
const listParams = z.strictObject({
  ...pageParams,
  canceled_at: timeRange.optional(),
  completed_at: timeRange.optional(),
  created: timeRange.optional(),
  customer: text.optional(),
  customer_account: notModelled,
  released_at: timeRange.optional(),
  scheduled: flag.optional(),
});

type Fields = Pick<z.output<typeof updateParams>, 'default_settings' | 'end_behavior' | 'metadata'>;

function find(world: World, id: string): SubscriptionSchedule {
  const schedule = world.state.schedules.get(id);
  if (schedule === undefined) throw missing('subscription schedule', id);
  return schedule;
}

function settingsOf(params: Fields): Partial<SubscriptionSchedule['default_settings']> {
  const { billing_cycle_anchor, collection_method, default_payment_method, description } =
    params.default_settings ?? {};
  return given({ billing_cycle_anchor, collection_method, default_payment_method, description });
}

/** What a subscription is now, as the first phase of its schedule. */
function presentPhase(subscription: Subscription): Phase {
  return buildPhase({
    items: subscription.items.data.map((item) => ({
      price: item.price.id,
      quantity: item.quantity ?? 1,
      metadata: item.metadata,
    })),
    currency: subscription.currency,
    startDate: Math.min(...subscription.items.data.map((item) => item.current_period_start)),
    endDate: periodEnd(subscription),
    trialEnd: subscription.status === 'trialing' ? subscription.trial_end : null,
    prorationBehavior: 'create_prorations',
    anchor: null,
    metadata: { ...subscription.metadata },
    description: subscription.description,
    collectionMethod: null,
    daysUntilDue: subscription.days_until_due,
    defaultPaymentMethod: null,
    discounts: subscription.discounts.map((discount) => ({ coupon: null, discount, promotion_code: null })),
  });
}

function fromSubscription(
  world: World,
  id: string,
  params: z.output<typeof createParams>,
): SubscriptionSchedule {
  const others = ['phases', 'start_date', 'customer', 'end_behavior', 'default_settings'] as const;
  const [other] = others.filter((name) => params[name] !== undefined);
  if (other !== undefined)
    throw invalid(
      `You cannot set \`${other}\` if \`from_subscription\` is set. Update the schedule after it was created instead.`,
      { param: other },
    );
  const subscription = findSubscription(world, id, 'from_subscription');
  if (subscription.schedule !== null)
    throw invalid(
      `You cannot migrate a subscription that is already attached to a schedule: ${subscription.schedule}`,
      { param: 'from_subscription' },
    );
  if (subscription.ended_at !== null)
    throw invalid(`You cannot migrate a subscription that is ${subscription.status}.`, {
      param: 'from_subscription',
    });
  const schedule = buildSchedule(world, {
    customer: findCustomer(world, subscription.customer),
    phases: [presentPhase(subscription)],
    endBehavior: 'release',
    metadata: mergeMetadata(null, params.metadata),
    settings: {
      collection_method: subscription.collection_method,
      default_payment_method: subscription.default_payment_method,
    },
  });
  Object.assign(schedule, { status: 'active', subscription: subscription.id });
  world.update('customer.subscription.updated', subscription, { schedule: schedule.id });
  return schedule;
}

function ofPhases(world: World, params: z.output<typeof createParams>): SubscriptionSchedule {
  if (params.customer === undefined)
    throw invalid('Missing required param: customer.', { code: 'parameter_missing', param: 'customer' });
  if (params.phases === undefined)
    throw invalid('Missing required param: phases.', { code: 'parameter_missing', param: 'phases' });
  const customer = findCustomer(world, params.customer, 'customer');
  const start = typeof params.start_date === 'number' ? params.start_date : world.now();
  return buildSchedule(world, {
    customer,
    phases: phasesOf(world, params.phases, start, customer.id),
    endBehavior: params.end_behavior ?? 'release',
    metadata: mergeMetadata(null, params.metadata),
    settings: settingsOf(params),
  });
}

function create(world: World, params: z.output<typeof createParams>): SubscriptionSchedule {
  const { from_subscription: from } = params;
  const schedule = from === undefined ? ofPhases(world, params) : fromSubscription(world, from, params);
  beginSchedule(world, schedule);
  world.emit('subscription_schedule.created', schedule);
  return schedule;
}

/** Phases are given whole; the running one keeps its start, the past ones may be left out. */
function newPhases(
  world: World,
  schedule: SubscriptionSchedule,
  params: z.output<typeof updateParams>,
): Phase[] {
  if (params.phases === undefined) return schedule.phases;
  const now = world.now();
  const [first] = params.phases;
  const current = schedule.current_phase;
  const begins = schedule.phases[0]?.start_date ?? now;
  const start = first?.start_date ?? (current === null ? begins : current.start_date);
  const at = start === 'now' ? now : start;
  const known = schedule.phases.some((phase) => phase.start_date === at);
  if (schedule.status === 'active' && !known && at !== now)
    throw invalid('You can not modify the start date of the current phase.', {
      param: 'phases[0][start_date]',
    });
  const past = schedule.phases.filter((phase) => phase.end_date <= at);
  return [...past, ...phasesOf(world, params.phases, at, schedule.customer)];
}

function update(
  world: World,
  schedule: SubscriptionSchedule,
  params: z.output<typeof updateParams>,
): SubscriptionSchedule {
  checkOpen(schedule, 'update');
  const now = world.now();
  const before = schedule.phases.find((phase) => phase.start_date === schedule.current_phase?.start_date);
  const next = newPhases(world, schedule, params);
  const running = next.find((phase) => phase.start_date <= now && now < phase.end_date);
  world.update('subscription_schedule.updated', schedule, {
    phases: next,
    end_behavior: params.end_behavior ?? schedule.end_behavior,
    metadata: mergeMetadata(schedule.metadata, params.metadata),
    default_settings: { ...schedule.default_settings, ...settingsOf(params) },
    ...(schedule.status === 'active' && running !== undefined
      ? { current_phase: { start_date: running.start_date, end_date: running.end_date } }
      : {}),
  });
  const prices = (phase: Phase | undefined): string =>
    JSON.stringify(phase?.items.map((item) => [item.price, item.quantity]));
  if (schedule.status === 'active' && running !== undefined && prices(before) !== prices(running))
    enterPhase(world, schedule, {
      ...running,
      proration_behavior: params.proration_behavior ?? running.proration_behavior,
    });
  for (const phase of next) {
    if (phase.start_date > now) planVisit(world, schedule.id, phase.start_date);
    if (phase.end_date > now) planVisit(world, schedule.id, phase.end_date);
  }
  return schedule;
}

const matches = (value: number | null, range: Parameters<typeof inRange>[1]): boolean =>
  range === undefined || (value !== null && inRange(value, range));

export const subscriptionScheduleRoutes: Route[] = [
  route('POST', '/subscription_schedules', createParams, ({ world, params }) => create(world, params)),
  route('GET', '/subscription_schedules', listParams, ({ world, params, path }) =>
    page(
      world.state.schedules.values(),
      params,
      path,
      (one) =>
        inRange(one.created, params.created) &&
        matches(one.canceled_at, params.canceled_at) &&
        matches(one.completed_at, params.completed_at) &&
        matches(one.released_at, params.released_at) &&
        (params.customer === undefined || one.customer === params.customer) &&
        (params.scheduled === undefined || (one.status === 'not_started') === params.scheduled),
    ),
  ),
  route('GET', '/subscription_schedules/:id', noParams, ({ world, id }) => find(world, id)),
  route('POST', '/subscription_schedules/:id', updateParams, ({ world, params, id }) =>
    update(world, find(world, id), params),
  ),
  route(
    'POST',
    '/subscription_schedules/:id/cancel',
    z.strictObject({ invoice_now: flag.optional(), prorate: flag.optional() }),
    ({ world, params, id }) => {
      const schedule = find(world, id);
      checkOpen(schedule, 'cancel');
      cancelSchedule(world, schedule, (subscription) => {
        cancelSubscription(world, subscription, {
          invoice_now: params.invoice_now ?? true,
          prorate: params.prorate ?? true,
        });
      });
      return schedule;
    },
  ),
  route(
    'POST',
    '/subscription_schedules/:id/release',
    z.strictObject({ preserve_cancel_date: flag.optional() }),
    ({ world, id }) => {
      const schedule = find(world, id);
      checkOpen(schedule, 'release');
      releaseSchedule(world, schedule);
      return schedule;
    },
  ),
];
