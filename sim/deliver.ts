/** How a world's events reach a ledger: in order and at once, or as badly as they may. */
import { checkInvariants } from './invariants.ts';
import type { Ledger } from './ledger.ts';
import type { Random } from './random.ts';
import { DAY, HOUR } from './stripe-model.ts';
import type { OwnStep, World, WorldEvent } from './world.ts';

/** Something that a ledger does or hears, for the table of a replay. */
export interface Happening {
  at: number;
  what: string;
  run(ledger: Ledger): void;
}

export type Watch = (happening: Happening, ledger: Ledger) => void;

const within =
  (from: number, to: number) =>
  ({ at }: { at: number }): boolean =>
    at > from && at <= to;

function ownSteps(world: World, from: number, to: number): Happening[] {
  return world.ownSteps.filter(within(from, to)).map(({ at, tokens, spentTokens }: OwnStep) => ({
    at,
    what: `bonus of ${tokens}, ${spentTokens} of it spent`,
    run: (ledger) => ledger.giveBonus(at, tokens, spentTokens),
  }));
}

/** Each event at its time, once, and read at its time. */
export function inOrder(world: World, from: number, to: number): Happening[] {
  const heard = world.events.filter(within(from, to)).map((event) => hear(event, event.at, event.at));
  return inTime([...heard, ...ownSteps(world, from, to)]);
}

function hear(event: WorldEvent, readAt: number, at: number, how = ''): Happening {
  return {
    at,
    what: `${event.type} ${event.id}${how}`,
    run: (ledger) => ledger.apply(ledger.read(event, readAt), at),
  };
}

/** Stable: what is at one instant stays in its order. */
function inTime(happenings: Happening[]): Happening[] {
  return happenings.sort((a, b) => a.at - b.at);
}

/**
 * Shuffled by delays of seconds to months, each event 1 to 5 times, three of ten lost and brought by the backfill,
 * one of four read long before it is applied. At the end everything is read once more, as the nightly reconciliation
 * does, and only then the last of the stale ones are applied.
 */
export function inChaos(world: World, from: number, to: number, random: Random): Happening[] {
  const happenings = ownSteps(world, from, to);
  const stragglers: Happening[] = [];
  for (const event of world.events.filter(within(from, to))) {
    const isDropped = random.chance(0.3);
    const copies = isDropped ? 1 : 1 + Math.floor(random.next() ** 2 * 5);
    for (let copy = 0; copy < copies; copy++) {
      const at = Math.min(to, event.at + Math.floor(random.next() * delay(event, to, isDropped, random)));
      if (random.chance(0.25)) {
        const { read, apply } = stale(event, at, to, random);
        happenings.push(read);
        (random.chance(0.2) ? stragglers : happenings).push(apply);
      } else
        happenings.push(hear(event, at, at, isDropped ? ' (backfilled)' : ` (${copy + 1} of ${copies})`));
    }
  }
  const shuffled = happenings.map((happening) => ({ happening, order: random.next() }));
  shuffled.sort((a, b) => a.happening.at - b.happening.at || a.order - b.order);
  const late = stragglers.map((happening) => ({ ...happening, at: to }));
  return [...shuffled.map(({ happening }) => happening), ...reconciled(world, to), ...late];
}

function delay(event: WorldEvent, to: number, isDropped: boolean, random: Random): number {
  const kind = isDropped ? 9 : random.int(0, 9);
  if (kind <= 4) return 2 * HOUR;
  return kind <= 7 ? 10 * DAY : to - event.at;
}

/** Two happenings: what is read now with its ticket is applied later, over what was read and applied meanwhile. */
function stale(
  event: WorldEvent,
  readAt: number,
  to: number,
  random: Random,
): { read: Happening; apply: Happening } {
  const at = Math.min(to, readAt + random.int(1, 3 * 86_400) * 1000);
  let read: ReturnType<Ledger['read']> | undefined;
  return {
    read: {
      at: readAt,
      what: `${event.type} ${event.id} is read`,
      run: (ledger) => {
        read = ledger.read(event, readAt);
      },
    },
    apply: {
      at,
      what: `${event.type} ${event.id} is applied as it was read`,
      run: (ledger) => {
        // At one instant the reading may have been shuffled behind.
        ledger.apply(read ?? ledger.read(event, readAt), Math.max(at, ledger.account.now.getTime()));
      },
    },
  };
}

function reconciled(world: World, at: number): Happening[] {
  const subscriptions = [...world.subscriptions.keys()].map((id) => ({ kind: 'subscription' as const, id }));
  const payments = [...world.payments.keys()].map((id) => ({ kind: 'payment' as const, id }));
  return [...subscriptions, ...payments].map((pointer) =>
    hear({ at, type: 'reconcile', ...pointer }, at, at),
  );
}

/** Runs what happens on a ledger, with every invariant checked after each. */
export function run(ledger: Ledger, happenings: readonly Happening[], watch?: Watch): void {
  for (const happening of happenings) {
    happening.run(ledger);
    watch?.(happening, ledger);
    checkInvariants(ledger, happening.what);
  }
}
