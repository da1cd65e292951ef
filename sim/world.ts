/**
 * All that was ever true in a simulated Stripe: every version of every object with the instant at which it became so.
 * A read at any time, now or stale, is a look into these.
 */
import type { PaidLine } from '../src/domain/paid-lines.ts';
import type { SubscriptionState } from '../src/domain/subscription.ts';

/** Versions of one object in the order of their time (ms). */
export class Timeline<T> {
  private readonly times: number[] = [];
  private readonly values: T[] = [];

  set(at: number, value: T): void {
    if (this.times.at(-1) === at) this.values[this.values.length - 1] = value;
    else {
      this.times.push(at);
      this.values.push(value);
    }
  }

  /** As of `at`; undefined before it existed. */
  at(at: number): T | undefined {
    let index = this.times.length - 1;
    while (index >= 0 && (this.times[index] ?? 0) > at) index--;
    return this.values[index];
  }
}

/** What an event points at: an invoice or a session is a payment. */
export interface Pointer {
  kind: 'subscription' | 'payment';
  id: string;
}

export interface WorldEvent extends Pointer {
  at: number;
  type: string;
}

/** Something that our own side does at its time, whatever has been heard of Stripe: a bonus, partly spent at once. */
export interface OwnStep {
  at: number;
  tokens: number;
  spentTokens: number;
}

export interface Payment {
  id: string;
  subscriptionId: string | null;
  /** Its lines with their money, from the payment on. */
  lines: Timeline<readonly PaidLine[]>;
}

export interface World {
  bornAt: number;
  endsAt: number;
  events: WorldEvent[];
  ownSteps: OwnStep[];
  subscriptions: Map<string, Timeline<SubscriptionState>>;
  payments: Map<string, Payment>;
  /** Payments by subscription, in the order of their making. */
  paymentsOf: Map<string, Payment[]>;
}

export function newWorld(bornAt: number): World {
  return {
    bornAt,
    endsAt: bornAt,
    events: [],
    ownSteps: [],
    subscriptions: new Map(),
    payments: new Map(),
    paymentsOf: new Map(),
  };
}
