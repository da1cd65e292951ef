import { DAY, HOUR } from './calendar.ts';
import { mulberry32, type Random, shuffled } from './random.ts';

export interface DeliverySettings {
  seed: number;
  shuffle: boolean;
  duplicateRate: number;
  dropRate: number;
  staleRate: number;
  delayMs: number;
  paused: boolean;
  /** Deliver what an API call caused before the call is answered. */
  beforeResponse: boolean;
  /** From one attempt to the next; the last one repeats. */
  retryDelaysSeconds: readonly number[];
  giveUpAfterSeconds: number;
  /** Null = as many as fit before giving up. */
  maxAttempts: number | null;
}

/** Stripe publishes only "up to three days with exponential backoff" (stripe.md B4). */
export const CALM: DeliverySettings = {
  seed: 1,
  shuffle: false,
  duplicateRate: 0,
  dropRate: 0,
  staleRate: 0,
  delayMs: 0,
  paused: false,
  beforeResponse: false,
  retryDelaysSeconds: [300, 1800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 12 * HOUR],
  giveUpAfterSeconds: 3 * DAY,
  maxAttempts: null,
};

export interface Mixed<T> {
  item: T;
  /** A second copy of what was already sent. */
  copy: boolean;
  stale: boolean;
  delayMs: number;
}

/** Loss, repetition, staleness, delay and order, from one seed. */
export class Chaos {
  #settings: DeliverySettings = CALM;
  #random: Random = mulberry32(CALM.seed);

  get settings(): DeliverySettings {
    return this.#settings;
  }

  /** Whether the order in which things are sent is to be repeatable, so that the network has no say in it. */
  get ordered(): boolean {
    const { shuffle, duplicateRate, dropRate, staleRate, delayMs } = this.#settings;
    return shuffle || duplicateRate > 0 || dropRate > 0 || staleRate > 0 || delayMs > 0;
  }

  configure(changes: Partial<DeliverySettings>): void {
    this.#settings = { ...this.#settings, ...changes };
    if (changes.seed !== undefined) this.#random = mulberry32(changes.seed);
  }

  reset(): void {
    this.#settings = CALM;
    this.#random = mulberry32(CALM.seed);
  }

  /** All dice are thrown here, in the order of the events, so that a seed repeats a run. */
  mix<T>(batch: readonly T[]): { sent: Mixed<T>[]; dropped: T[] } {
    const { dropRate, duplicateRate, staleRate, delayMs, shuffle } = this.#settings;
    const sent: Mixed<T>[] = [];
    const dropped: T[] = [];
    for (const item of batch) {
      if (this.#random() < dropRate) {
        dropped.push(item);
        continue;
      }
      const copies = this.#random() < duplicateRate ? 2 : 1;
      for (let index = 0; index < copies; index += 1)
        sent.push({
          item,
          copy: index > 0,
          stale: this.#random() < staleRate,
          delayMs: this.#random() * delayMs,
        });
    }
    if (shuffle) return { sent: shuffled(sent, this.#random), dropped };
    return { sent: sent.sort((a, b) => a.delayMs - b.delayMs), dropped };
  }
}
