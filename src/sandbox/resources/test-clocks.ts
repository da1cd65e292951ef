import { z } from 'zod';
import { cycleStart, DAY } from '../calendar.ts';
import { testClockOf } from '../clock-owner.ts';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import { integer, noParams, pageParams, text } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import { newId } from '../ids.ts';
import type { TestClock } from '../wire.ts';
import type { World } from '../world.ts';
import { deleteCustomer, findCustomer } from './customers.ts';

const DELETED_AFTER_DAYS = 30;
/** https://docs.stripe.com/billing/testing/test-clocks: two intervals of the shortest subscription. */
const MAX_INTERVALS = 2;
const MAX_YEARS = 2;

const createParams = z.strictObject({
  customer: text.optional(),
  frozen_time: integer,
  name: text.max(300).optional(),
});
const advanceParams = z.strictObject({ frozen_time: integer });

export function findTestClock(world: World, id: string, param?: string): TestClock {
  const clock = world.state.testClocks.get(id);
  if (clock === undefined) throw missing('test clock', id, param);
  return clock;
}

/** A clock's own life goes by global time. */
function announce(world: World, type: string, clock: TestClock): void {
  world.within(null, () => world.emit(`test_helpers.test_clock.${type}`, clock));
}

function create(world: World, params: z.output<typeof createParams>): TestClock {
  const customer = params.customer === undefined ? null : findCustomer(world, params.customer, 'customer');
  if (customer !== null && customer.test_clock != null)
    throw invalid('This customer is already attached to a test clock.', { param: 'customer' });
  const created = world.clock.now();
  const clock = {
    id: newId('clock'),
    object: 'test_helpers.test_clock',
    created,
    deletes_after: created + DELETED_AFTER_DAYS * DAY,
    frozen_time: params.frozen_time,
    livemode: false,
    name: params.name ?? null,
    status: 'ready',
    status_details: {},
  } satisfies TestClock;
  world.state.testClocks.set(clock.id, clock);
  world.state.clockInstants.set(clock.id, clock.frozen_time);
  world.within(null, () => world.scheduler.plan('test_clock_expires', clock.deletes_after, clock.id));
  if (customer !== null) attach(world, clock.id, customer.id);
  announce(world, 'created', clock);
  return clock;
}

/** An existing customer comes under the clock with everything it has and all that is planned for it. */
function attach(world: World, clock: string, customerId: string): void {
  const { customers, subscriptions, invoices, invoiceItems } = world.state;
  for (const objects of [subscriptions, invoices, invoiceItems])
    for (const object of objects.values()) if (object.customer === customerId) object.test_clock = clock;
  const customer = customers.get(customerId);
  if (customer !== undefined) customer.test_clock = clock;
  world.scheduler.moveTo(clock, (job) => testClockOf(world.state, job.id) === clock && job.id !== clock);
}

function targetLimit(world: World, clock: TestClock): number {
  const from = clock.frozen_time;
  const ends = [...world.state.subscriptions.values()]
    .filter((one) => one.test_clock === clock.id && one.ended_at === null)
    .flatMap((one) => one.items.data)
    .map(({ price: { recurring } }) =>
      cycleStart(from, recurring?.interval ?? 'month', recurring?.interval_count ?? 1, MAX_INTERVALS),
    );
  return Math.min(...ends, ends.length === 0 ? cycleStart(from, 'year', 1, MAX_YEARS) : Infinity);
}

function checkTarget(world: World, clock: TestClock, target: number): void {
  const details = { param: 'frozen_time' };
  if (clock.status === 'advancing') throw invalid('The test clock is already advancing.', details);
  if (target <= clock.frozen_time)
    throw invalid("The new frozen time must be after the test clock's current frozen time.", details);
  if (target > targetLimit(world, clock))
    throw invalid(
      "The new frozen time can't be more than two intervals of the shortest subscription in this test clock in the future (two years if it has no subscriptions).",
      details,
    );
}

/** Time has come to the target: everything due before it has happened. */
export function finishAdvance(world: World, id: string, target: number): void {
  const clock = findTestClock(world, id);
  world.state.clockInstants.set(id, target);
  Object.assign(clock, { frozen_time: target, status: 'ready', status_details: {} });
  announce(world, 'ready', clock);
}

/** Takes its customers along; their subscriptions are canceled, an event each. */
export function deleteTestClock(world: World, id: string): void {
  const clock = world.state.testClocks.get(id);
  if (clock === undefined) return;
  world.within(id, () => {
    for (const customer of [...world.state.customers.values()])
      if (customer.test_clock === id) deleteCustomer(world, customer);
  });
  world.scheduler.drop(id);
  world.state.testClocks.delete(id);
  world.state.clockInstants.delete(id);
  announce(world, 'deleted', clock);
}

export const testClockRoutes: Route[] = [
  route('POST', '/test_helpers/test_clocks', createParams, ({ world, params }) => create(world, params)),
  route('GET', '/test_helpers/test_clocks', z.strictObject(pageParams), ({ world, params, path }) =>
    page(world.state.testClocks.values(), params, path),
  ),
  route('GET', '/test_helpers/test_clocks/:id', noParams, ({ world, id }) => findTestClock(world, id)),
  route('POST', '/test_helpers/test_clocks/:id/advance', advanceParams, ({ world, params, id }) => {
    const clock = findTestClock(world, id);
    const target = params.frozen_time;
    checkTarget(world, clock, target);
    clock.status = 'advancing';
    clock.status_details = { advancing: { target_frozen_time: target } };
    announce(world, 'advancing', clock);
    world.startTestClock(id, target);
    return clock;
  }),
  route('DELETE', '/test_helpers/test_clocks/:id', noParams, ({ world, id }) => {
    findTestClock(world, id);
    deleteTestClock(world, id);
    return { id, object: 'test_helpers.test_clock', deleted: true };
  }),
];
