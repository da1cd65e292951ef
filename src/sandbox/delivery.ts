import { DAY, HOUR } from './calendar.ts';
import { mulberry32, type Random, shuffled } from './random.ts';
import { signatureHeader } from './signature.ts';
import type { SandboxEvent, WebhookEndpoint } from './wire.ts';
import type { World } from './world.ts';

const TIMEOUT_MS = 10_000;
const PARALLEL = 8;
/** Seconds after the first attempt; Stripe publishes only "up to three days with exponential backoff". */
const RETRY_DELAYS = [300, 1800, 2 * HOUR, 5 * HOUR, 10 * HOUR];
const LATER_DELAY = 12 * HOUR;
const GIVE_UP_AFTER = 3 * DAY;

export interface Chaos {
  seed: number;
  shuffle: boolean;
  duplicateRate: number;
  dropRate: number;
  staleRate: number;
  delayMs: number;
  paused: boolean;
}

export const NO_CHAOS: Chaos = {
  seed: 1,
  shuffle: false,
  duplicateRate: 0,
  dropRate: 0,
  staleRate: 0,
  delayMs: 0,
  paused: false,
};

interface Delivery {
  id: string;
  event: SandboxEvent;
  endpoint: WebhookEndpoint;
  attempts: number;
  firstAt: number;
  stale: boolean;
  delayMs: number;
}

export interface DeliveryTotals {
  delivered: number;
  failed: number;
  dropped: number;
}

/** Sends events to webhook endpoints: at least once, in no promised order, unless chaos says worse. */
export class Deliverer {
  readonly #world: World;
  readonly #onError: (error: unknown) => void;
  readonly #waiting = new Map<string, Delivery>();
  #chaos: Chaos = NO_CHAOS;
  #random: Random = mulberry32(NO_CHAOS.seed);
  #queue: Delivery[] = [];
  #ready: Delivery[] = [];
  #running = 0;
  #pumpPlanned = false;
  #sequence = 0;
  #epoch = 0;
  #idleWaiters: (() => void)[] = [];
  totals: DeliveryTotals = { delivered: 0, failed: 0, dropped: 0 };

  constructor(world: World, onError: (error: unknown) => void) {
    this.#world = world;
    this.#onError = onError;
  }

  get chaos(): Chaos {
    return this.#chaos;
  }

  get held(): number {
    return this.#chaos.paused ? this.#queue.length : 0;
  }

  configure(changes: Partial<Chaos>): void {
    this.#chaos = { ...this.#chaos, ...changes };
    if (changes.seed !== undefined) this.#random = mulberry32(changes.seed);
    this.#planPump();
  }

  reset(): void {
    this.#epoch += 1;
    this.#queue = [];
    this.#ready = [];
    this.#waiting.clear();
    this.#chaos = NO_CHAOS;
    this.#random = mulberry32(NO_CHAOS.seed);
    this.totals = { delivered: 0, failed: 0, dropped: 0 };
    this.#wakeIfIdle();
  }

  dispatch(event: SandboxEvent): void {
    for (const endpoint of this.#world.state.webhookEndpoints.values())
      if (endpoint.status === 'enabled' && wants(endpoint, event.type)) this.send(event, endpoint);
  }

  send(event: SandboxEvent, endpoint: WebhookEndpoint): void {
    event.pending_webhooks += 1;
    this.#sequence += 1;
    this.#queue.push({
      id: `delivery_${this.#sequence}`,
      event,
      endpoint,
      attempts: 0,
      firstAt: this.#world.now(),
      stale: false,
      delayMs: 0,
    });
    this.#planPump();
  }

  /** Resolves when nothing is queued or on its way (held back and waiting for a retry do not count). */
  idle(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** A retry whose virtual time has come. */
  retry(deliveryId: string): void {
    const delivery = this.#waiting.get(deliveryId);
    if (delivery === undefined) return;
    this.#waiting.delete(deliveryId);
    // Whoever deletes or disables an endpoint does not want what is still owed to it.
    if (this.#world.state.webhookEndpoints.get(delivery.endpoint.id)?.status !== 'enabled') return;
    this.#queue.push(delivery);
    this.#planPump();
  }

  #isIdle(): boolean {
    return (
      this.#running === 0 && this.#ready.length === 0 && (this.#queue.length === 0 || this.#chaos.paused)
    );
  }

  #wakeIfIdle(): void {
    if (!this.#isIdle()) return;
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const wake of waiters) wake();
  }

  /** The answer to the API call leaves first; what one call caused is one window for the chaos to mix. */
  #planPump(): void {
    if (this.#pumpPlanned) return;
    this.#pumpPlanned = true;
    setImmediate(() => {
      this.#pumpPlanned = false;
      if (!this.#chaos.paused && this.#queue.length > 0)
        this.#ready.push(...this.#mix(this.#queue.splice(0)));
      this.#start();
      this.#wakeIfIdle();
    });
  }

  /** All dice are thrown here, in the order of the events, so that a seed repeats a run. */
  #mix(batch: Delivery[]): Delivery[] {
    const { dropRate, duplicateRate, staleRate, delayMs, shuffle } = this.#chaos;
    const sent: Delivery[] = [];
    for (const delivery of batch) {
      if (this.#random() < dropRate) {
        this.totals.dropped += 1;
        continue;
      }
      const copies = this.#random() < duplicateRate ? 2 : 1;
      for (let copy = 0; copy < copies; copy += 1)
        sent.push({ ...delivery, stale: this.#random() < staleRate, delayMs: this.#random() * delayMs });
    }
    return shuffle ? shuffled(sent, this.#random) : sent;
  }

  #start(): void {
    // One at a time under a shuffle, else the network would have a say in the order.
    const limit = this.#chaos.shuffle ? 1 : PARALLEL;
    while (this.#running < limit) {
      const delivery = this.#ready.shift();
      if (delivery === undefined) return;
      this.#running += 1;
      const epoch = this.#epoch;
      this.#attempt(delivery)
        .catch((error: unknown) => {
          this.#onError(error);
          return false;
        })
        .then((ok) => {
          if (epoch === this.#epoch) this.#settle(delivery, ok);
        })
        .finally(() => {
          this.#running -= 1;
          this.#start();
          this.#wakeIfIdle();
        });
    }
  }

  async #attempt(delivery: Delivery): Promise<boolean> {
    const { event, endpoint } = delivery;
    if (delivery.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delivery.delayMs));
    const body = JSON.stringify(delivery.stale ? this.#olderView(event) : event, null, 2);
    const secret = this.#world.state.webhookSecrets.get(endpoint.id) ?? '';
    const timestamp = Math.floor(this.#world.clock.wallClock() / 1000);
    try {
      const response = await fetch(endpoint.url, {
        method: 'POST',
        headers: {
          'Content-Type': 'application/json; charset=utf-8',
          'User-Agent': 'Stripe/1.0 (+https://stripe.com/docs/webhooks)',
          'Stripe-Signature': signatureHeader(body, secret, timestamp),
        },
        body,
        // A redirect is a failed delivery (https://docs.stripe.com/webhooks#disable-logic).
        redirect: 'manual',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      await response.arrayBuffer();
      return response.ok;
    } catch (error) {
      // An endpoint that is down is what the retries are for; anything else is a fault of ours.
      if (error instanceof TypeError || (error instanceof Error && error.name === 'TimeoutError'))
        return false;
      throw error;
    }
  }

  /** The same event with the object as an earlier event showed it. */
  #olderView(event: SandboxEvent): SandboxEvent {
    const id = 'id' in event.data.object ? event.data.object.id : undefined;
    for (const earlier of this.#world.state.events.values()) {
      if (earlier.id === event.id) break;
      if (id !== undefined && 'id' in earlier.data.object && earlier.data.object.id === id)
        return { ...event, data: earlier.data };
    }
    return event;
  }

  #settle(delivery: Delivery, ok: boolean): void {
    if (ok) {
      this.totals.delivered += 1;
      delivery.event.pending_webhooks = Math.max(0, delivery.event.pending_webhooks - 1);
      return;
    }
    this.totals.failed += 1;
    const delay = RETRY_DELAYS[delivery.attempts] ?? LATER_DELAY;
    const at = this.#world.now() + delay;
    if (at - delivery.firstAt > GIVE_UP_AFTER) return;
    this.#sequence += 1;
    const id = `delivery_${this.#sequence}`;
    this.#waiting.set(id, { ...delivery, id, attempts: delivery.attempts + 1 });
    this.#world.scheduler.plan('webhook_retries', at, id);
  }
}

function wants(endpoint: WebhookEndpoint, type: string): boolean {
  return endpoint.enabled_events.includes('*') || endpoint.enabled_events.includes(type);
}
