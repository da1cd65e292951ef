import { z } from 'zod';
import type { DeliverySettings } from './chaos.ts';
import { testClockOfRequest } from './clock-owner.ts';
import type { Deliverer } from './delivery.ts';
import { CHECKOUT_OUTCOMES, completeSession } from './engine/checkout.ts';
import { closeDispute, openDispute } from './engine/disputes.ts';
import { StripeError } from './errors.ts';
import type { FaultSettings, Faults } from './http/faults.ts';
import { given } from './http/params.ts';
import { findCharge } from './resources/charges.ts';
import { findSession } from './resources/checkout-sessions.ts';
import { findCustomer } from './resources/customers.ts';
import { findDispute } from './resources/disputes.ts';
import { rollSecret } from './resources/webhook-endpoints.ts';
import type { Timeline } from './timeline.ts';
import type { World } from './world.ts';

const MAX_ADVANCE_SECONDS = 20 * 366 * 86_400;
const MAX_RETRY_SECONDS = 30 * 86_400;
/** As long as Stripe lets an old secret go on (https://docs.stripe.com/webhooks#roll-endpoint-secrets). */
const MAX_ROLL_SECONDS = 86_400;

export interface ControlContext {
  world: World;
  deliverer: Deliverer;
  timeline: Timeline;
  faults: Faults;
  reset: () => void;
}

const rate = z.number().min(0).max(1);
const seed = z.number().int().min(0).max(0xffffffff);
const advance = z
  .strictObject({
    seconds: z.number().min(0).max(MAX_ADVANCE_SECONDS).optional(),
    to: z.iso.datetime({ offset: true }).optional(),
  })
  .refine((body) => (body.seconds === undefined) !== (body.to === undefined), {
    message: 'give either seconds or to',
    path: ['seconds'],
  });
const delivery = z.strictObject({
  seed: seed.optional(),
  shuffle: z.boolean().optional(),
  duplicateRate: rate.optional(),
  dropRate: rate.optional(),
  staleRate: rate.optional(),
  delayMs: z.number().min(0).max(60_000).optional(),
  paused: z.boolean().optional(),
  beforeResponse: z.boolean().optional(),
  retryDelaysSeconds: z.array(z.number().positive().max(MAX_RETRY_SECONDS)).max(20).optional(),
  giveUpAfterSeconds: z.number().min(0).max(MAX_RETRY_SECONDS).optional(),
  maxAttempts: z.number().int().positive().max(100).nullable().optional(),
});
const faultSettings = z.strictObject({
  latencyMs: z.number().min(0).max(60_000).optional(),
  errorRate: rate.optional(),
  errorAfterCommitRate: rate.optional(),
  resetAfterCommitRate: rate.optional(),
  rateLimitRate: rate.optional(),
  lockTimeoutRate: rate.optional(),
  seed: seed.optional(),
});
const roll = z.strictObject({
  expiresInSeconds: z.number().int().min(0).max(MAX_ROLL_SECONDS).optional(),
});
const billing = z.strictObject({
  afterFinalRetry: z.enum(['canceled', 'unpaid', 'past_due', 'paused']).optional(),
  retryDays: z.array(z.number().positive().max(60)).max(8).optional(),
});

/** A refusal of the control API: names the field, changes nothing. */
function refusal(field: string, reason: string): StripeError {
  return new StripeError(400, 'invalid_request_error', `${field}: ${reason}`, {
    code: 'invalid_body',
    param: field,
  });
}

function parse<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue?.code === 'unrecognized_keys' ? (issue.keys[0] ?? '') : (issue?.path.join('.') ?? '');
  throw refusal(field || 'body', issue?.message ?? 'invalid');
}

type Handler = (context: ControlContext, id: string, body: unknown) => object | Promise<object>;

const clockView = ({ world }: ControlContext): object => ({
  now: new Date(world.clock.nowMs()).toISOString(),
});

async function advanceClock(context: ControlContext, _id: string, body: unknown): Promise<object> {
  const { seconds, to } = parse(advance, body);
  const { world, deliverer } = context;
  const now = world.clock.nowMs();
  const target = to === undefined ? now + (seconds ?? 0) * 1000 : Date.parse(to);
  if (target < now) throw refusal('to', 'lies in the past');
  if (target - now > MAX_ADVANCE_SECONDS * 1000) throw refusal('to', 'is more than 20 years away');
  const before = context.timeline.steps;
  await context.timeline.advanceTo(target);
  return { ...clockView(context), ...deliverer.totals, steps: context.timeline.steps - before };
}

async function completeCheckout(context: ControlContext, id: string, body: unknown): Promise<object> {
  const { outcome } = parse(z.strictObject({ outcome: z.enum(CHECKOUT_OUTCOMES).optional() }), body);
  const session = completeSession(context.world, findSession(context.world, id), outcome ?? 'succeeds');
  await context.timeline.quiet();
  return session;
}

async function disputeCharge(context: ControlContext, id: string, body: unknown): Promise<object> {
  const request = parse(
    z.strictObject({
      amount: z.number().int().positive().optional(),
      reason: z.string().min(1).max(100).optional(),
      inquiry: z.boolean().optional(),
    }),
    body,
  );
  const dispute = openDispute(context.world, findCharge(context.world, id), request);
  await context.timeline.quiet();
  return dispute;
}

async function endDispute(context: ControlContext, id: string, body: unknown): Promise<object> {
  const { status } = parse(z.strictObject({ status: z.enum(['won', 'lost']) }), body);
  const dispute = findDispute(context.world, id);
  closeDispute(context.world, dispute, status);
  await context.timeline.quiet();
  return dispute;
}

const OUTCOMES = ['succeeds', 'card_declined', 'insufficient_funds', 'requires_action'] as const;

const ROUTES: { method: string; pattern: RegExp; handle: Handler }[] = [
  { method: 'GET', pattern: /^\/clock$/, handle: clockView },
  { method: 'POST', pattern: /^\/clock\/advance$/, handle: advanceClock },
  { method: 'POST', pattern: /^\/checkout\/([^/]+)\/complete$/, handle: completeCheckout },
  {
    method: 'POST',
    pattern: /^\/customers\/([^/]+)\/payment$/,
    handle: ({ world }, id, body) => {
      const { outcome } = parse(z.strictObject({ outcome: z.enum(OUTCOMES) }), body);
      world.state.customerOutcomes.set(findCustomer(world, id).id, outcome);
      return { customer: id, outcome };
    },
  },
  { method: 'POST', pattern: /^\/charges\/([^/]+)\/dispute$/, handle: disputeCharge },
  { method: 'POST', pattern: /^\/disputes\/([^/]+)\/close$/, handle: endDispute },
  {
    method: 'POST',
    pattern: /^\/delivery$/,
    handle: ({ deliverer }, _id, body) => {
      const changes: Partial<DeliverySettings> = given(parse(delivery, body));
      deliverer.configure(changes);
      return deliverer.settings;
    },
  },
  {
    method: 'POST',
    pattern: /^\/delivery\/settle$/,
    handle: async ({ deliverer, timeline }, _id, body) => {
      parse(z.strictObject({}), body);
      await timeline.quiet();
      return { ...deliverer.totals, pending: 0, held: deliverer.held };
    },
  },
  {
    method: 'POST',
    pattern: /^\/webhook_endpoints\/([^/]+)\/roll$/,
    handle: ({ world }, id, body) => {
      const { expiresInSeconds } = parse(roll, body);
      return rollSecret(world, id, expiresInSeconds ?? MAX_ROLL_SECONDS);
    },
  },
  {
    method: 'POST',
    pattern: /^\/faults$/,
    handle: ({ faults }, _id, body) => {
      const changes: Partial<FaultSettings> = given(parse(faultSettings, body));
      faults.configure(changes);
      return faults.settings;
    },
  },
  {
    method: 'POST',
    pattern: /^\/billing$/,
    handle: ({ world }, _id, body) => {
      Object.assign(world.state.billing, given(parse(billing, body)));
      return world.state.billing;
    },
  },
  {
    method: 'POST',
    pattern: /^\/reset$/,
    handle: (context, _id, body) => {
      parse(z.strictObject({}), body);
      context.reset();
      return clockView(context);
    },
  },
];

function jsonBody(text: string): unknown {
  if (text.trim() === '') return {};
  try {
    return JSON.parse(text);
  } catch {
    throw refusal('body', 'is not JSON');
  }
}

/** The control API under /_sandbox; undefined when there is no such route. */
export async function control(
  context: ControlContext,
  method: string,
  path: string,
  text: string,
): Promise<object | undefined> {
  for (const route of ROUTES) {
    const match = route.method === method ? route.pattern.exec(path) : null;
    if (match !== null) {
      const { world, timeline } = context;
      timeline.catchUp();
      const id = decodeURIComponent(match[1] ?? '');
      const body = jsonBody(text);
      if (method === 'POST') world.touched();
      // What a handler does before it waits for deliveries, it does at the time of the object's test clock.
      return world.within(testClockOfRequest(world.state, id, {}), () => route.handle(context, id, body));
    }
  }
  return undefined;
}
