/**
 * A history: what happens when, told so that it can be shortened. Each step has its own dice, so leaving one out leaves
 * the others what they are.
 */
import { type ActionName, act, anyAction, MONEY_ACTIONS, RESTITUTIONS } from './actions.ts';
import { Random } from './random.ts';
import { DAY, HOUR, StripeModel } from './stripe-model.ts';
import type { World } from './world.ts';

export interface Step {
  name: ActionName;
  /** Since the step before. */
  afterMs: number;
  dice: number;
}

export interface History {
  seed: number;
  bornAt: number;
  steps: Step[];
  /** Nothing happens in between; what was to come falls due. */
  restMs: number;
  /** Refunds and disputes after some of everything has been spent: the debt. */
  aftermath: Step[];
  /** Refunds that fail and disputes that end, after the next grant has settled the debt. */
  restitution: Step[];
}

export interface Played {
  /** Up to here nothing that Stripe gave has been spent. */
  quietAt: number;
  /** Up to here the aftermath. */
  debtAt: number;
  world: World;
}

const EVENTS_MIN = 10;
const EVENTS_MAX = 60;
const LONGEST = 420 * DAY;
const BORN_FROM = Date.UTC(2026, 10, 22);

/** With what it leads to, since it was played to make it. */
export function newHistory(
  seed: number,
  nextAction: (random: Random) => ActionName = anyAction,
): { history: History; played: Played } {
  const random = new Random(seed);
  const bornAt = BORN_FROM + random.int(0, 500 * 86_400) * 1000 + random.int(0, 999);
  // Squared: short histories are the quick ones to read, and as many mistakes show in them.
  const wanted = EVENTS_MIN + Math.floor(random.next() ** 2 * (EVENTS_MAX - EVENTS_MIN + 1));
  const model = new StripeModel(bornAt);
  const steps: Step[] = [];
  let waitedMs = 0;
  while (model.world.events.length < wanted && model.now < bornAt + LONGEST) {
    const step = { name: nextAction(random), afterMs: gap(random), dice: random.int(0, 2 ** 31) };
    if (model.world.events.length + 4 >= EVENTS_MAX) step.afterMs = Math.min(step.afterMs, HOUR);
    // What does not apply is left out of the history, but the time has passed.
    const applies = take(model, step);
    waitedMs += step.afterMs;
    if (!applies) continue;
    steps.push({ ...step, afterMs: waitedMs });
    waitedMs = 0;
  }
  const restMs = random.chance(0.5) ? random.int(0, 3600) * 1000 : random.int(0, 40 * 86_400) * 1000;
  const hasAftermath = random.chance(0.5);
  const aftermath = hasAftermath ? moneySteps(random, MONEY_ACTIONS) : [];
  const restitution = hasAftermath ? moneySteps(random, RESTITUTIONS) : [];
  const history = { seed, bornAt, steps, restMs: restMs + waitedMs, aftermath, restitution };
  return { history, played: rest(model, { ...history, restMs }) };
}

function moneySteps(random: Random, names: readonly ActionName[]): Step[] {
  return Array.from({ length: random.int(1, 4) }, () => ({
    name: random.pick(names),
    afterMs: random.int(1, 60) * 1000,
    dice: random.int(0, 2 ** 31),
  }));
}

/** From the same second to three weeks. */
function gap(random: Random): number {
  const kind = random.int(0, 9);
  if (kind === 0) return 0;
  if (kind <= 3) return random.int(1, 7_200) * 1000;
  if (kind <= 7) return random.int(1, 12 * 86_400) * 1000;
  return random.int(10 * 86_400, 45 * 86_400) * 1000;
}

/** An action that does not apply takes no time, so that leaving out what made it apply moves nothing else. */
function take(model: StripeModel, { name, afterMs, dice }: Step): boolean {
  model.advanceTo(model.now + afterMs);
  return act(name, model, new Random(dice));
}

export function play(history: History): Played {
  const model = new StripeModel(history.bornAt);
  for (const step of history.steps) take(model, step);
  return rest(model, history);
}

function rest(model: StripeModel, history: History): Played {
  model.advanceTo(model.now + history.restMs);
  const quietAt = model.now;
  for (const step of history.aftermath) take(model, step);
  const debtAt = model.now;
  for (const step of history.restitution) take(model, step);
  return { quietAt, debtAt, world: model.world };
}
