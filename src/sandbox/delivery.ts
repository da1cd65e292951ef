import { setTimeout as sleep } from 'node:timers/promises';
import { Chaos, type DeliverySettings, type Mixed } from './chaos.ts';
import { type Delivery, olderView, post, type Sink, wantsEvent } from './targets.ts';
import type { SandboxEvent, WebhookEndpoint } from './wire.ts';
import type { World } from './world.ts';

const PARALLEL = 8;
const SETTLED_WITHIN_MS = 2000;

type Sent = Mixed<Delivery> & { dueAtMs: number };

export interface DeliveryTotals {
  delivered: number;
  failed: number;
  dropped: number;
}

/** Sends events to webhook endpoints: at least once, in no promised order, unless chaos says worse. */
export class Deliverer {
  readonly #world: World;
  readonly #onError: (error: unknown) => void;
  readonly #chaos = new Chaos();
  readonly #sinks = new Map<string, Sink>();
  /** Everything not yet answered, dropped or given up. */
  readonly #owed = new Map<string, Delivery>();
  #queue: Delivery[] = [];
  #ready: Sent[] = [];
  #running = 0;
  #pumpPlanned = false;
  #stopped = false;
  #sequence = 0;
  #epoch = 0;
  #waiters: { done: () => boolean; resolve: () => void }[] = [];
  totals: DeliveryTotals = { delivered: 0, failed: 0, dropped: 0 };

  constructor(world: World, onError: (error: unknown) => void) {
    this.#world = world;
    this.#onError = onError;
  }

  get settings(): DeliverySettings {
    return this.#chaos.settings;
  }

  get held(): number {
    return this.settings.paused ? this.#queue.length : 0;
  }

  configure(changes: Partial<DeliverySettings>): void {
    this.#chaos.configure(changes);
    this.#planPump();
  }

  /** Sinks stay: whoever listens goes on listening. */
  reset(): void {
    this.#epoch += 1;
    this.#queue = [];
    this.#ready = [];
    this.#owed.clear();
    this.#chaos.reset();
    this.totals = { delivered: 0, failed: 0, dropped: 0 };
    this.#wake();
  }

  /** What is on its way is let go; what is owed stays owed, for the snapshot. */
  stop(): void {
    this.#stopped = true;
    this.#epoch += 1;
    this.#ready = [];
    this.#wake();
  }

  /** Deliveries for a snapshot. */
  save(): Delivery[] {
    return [...this.#owed.values()].filter((delivery) => !this.#sinks.has(delivery.target));
  }

  /** The scheduler has the retries; everything else starts again. */
  restore(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) {
      this.#owed.set(delivery.id, delivery);
      this.#sequence = Math.max(this.#sequence, Number(delivery.id.split('_')[1] ?? 0));
      if (!delivery.waiting) this.#queue.push(delivery);
    }
    if (this.#queue.length > 0) this.#planPump();
  }

  /** Registers a receiver inside this process; call what it returns when the receiver goes away. */
  addSink(sink: Sink): () => void {
    this.#sequence += 1;
    const id = `sink_${this.#sequence}`;
    this.#sinks.set(id, sink);
    return () => {
      this.#sinks.delete(id);
      const gone = [...this.#owed.values()].filter((delivery) => delivery.target === id);
      this.#queue = this.#queue.filter((delivery) => delivery.target !== id);
      for (const delivery of gone) this.#answered(delivery);
      this.#wake();
    };
  }

  dispatch(event: SandboxEvent): void {
    for (const endpoint of this.#world.state.webhookEndpoints.values())
      if (wantsEvent(endpoint, event.type)) this.send(event, endpoint.id);
    for (const [id, sink] of this.#sinks)
      if (wantsEvent(sink, event.type)) this.send(event, id, { once: true });
  }

  /** Once more to whoever listens inside this process. */
  resendToSinks(event: SandboxEvent): void {
    for (const id of this.#sinks.keys()) this.send(event, id, { once: true });
  }

  send(event: SandboxEvent, target: string, { once = false } = {}): void {
    this.#sequence += 1;
    const delivery: Delivery = {
      id: `delivery_${this.#sequence}`,
      event: event.id,
      target,
      attempts: 0,
      firstAt: this.#world.clock.now(),
      once,
      waiting: false,
    };
    const { unanswered } = this.#world.state;
    unanswered.set(event.id, [...new Set([...(unanswered.get(event.id) ?? []), target])]);
    event.pending_webhooks = unanswered.get(event.id)?.length ?? 0;
    this.#owed.set(delivery.id, delivery);
    this.#queue.push(delivery);
    this.#planPump();
  }

  /** Whether no attempt at this event is outstanding: all answered with 2xx, given up, or lost by chaos. */
  deliveredOk(eventId: string): boolean {
    for (const delivery of this.#owed.values())
      if (delivery.event === eventId && !this.#sinks.has(delivery.target)) return false;
    return true;
  }

  /** Resolves when nothing is queued or on its way (held back and waiting for a retry do not count). */
  idle(): Promise<void> {
    return this.#until(() => this.#isIdle());
  }

  /**
   * Resolves when what one API request caused has been delivered or has failed once, or after a while: a
   * receiver that calls the API before it answers would wait for itself.
   */
  settled(requestId: string): Promise<void> {
    const done = this.#until(() => this.settings.paused || !this.#isUnderWay(requestId));
    return Promise.race([done, sleep(SETTLED_WITHIN_MS, undefined, { ref: false })]);
  }

  /** A retry whose virtual time has come. */
  retry(deliveryId: string): void {
    const delivery = this.#owed.get(deliveryId);
    if (delivery?.waiting !== true) return;
    delivery.waiting = false;
    // Whoever deletes or disables an endpoint does not want what is still owed to it.
    if (this.#world.state.webhookEndpoints.get(delivery.target)?.status !== 'enabled') {
      this.#release(delivery);
      return;
    }
    this.#queue.push(delivery);
    this.#planPump();
  }

  #isUnderWay(requestId: string): boolean {
    for (const { waiting, event } of this.#owed.values())
      if (!waiting && this.#world.state.events.get(event)?.request.id === requestId) return true;
    return false;
  }

  #isIdle(): boolean {
    if (this.#stopped) return true;
    return (
      this.#running === 0 && this.#ready.length === 0 && (this.#queue.length === 0 || this.settings.paused)
    );
  }

  #until(done: () => boolean): Promise<void> {
    if (done()) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ done, resolve }));
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = waiters.filter((waiter) => !waiter.done());
    for (const waiter of waiters) if (!this.#waiters.includes(waiter)) waiter.resolve();
  }

  /** The answer to the API call leaves first; what one call caused is one window for the chaos to mix. */
  #planPump(): void {
    if (this.#pumpPlanned || this.#stopped) return;
    this.#pumpPlanned = true;
    setImmediate(() => {
      this.#pumpPlanned = false;
      if (!this.settings.paused && this.#queue.length > 0) this.#mix();
      this.#start();
      this.#wake();
    });
  }

  #mix(): void {
    const { sent, dropped } = this.#chaos.mix(this.#queue.splice(0));
    const startedMs = performance.now();
    this.#ready.push(...sent.map((one) => ({ ...one, dueAtMs: startedMs + one.delayMs })));
    this.totals.dropped += dropped.length;
    // Lost on the way: never sent again, and unanswered for good in the list of events.
    for (const delivery of dropped) this.#release(delivery);
  }

  #start(): void {
    const limit = this.#chaos.ordered ? 1 : PARALLEL;
    while (this.#running < limit && !this.#stopped) {
      const sent = this.#ready.shift();
      if (sent === undefined) return;
      this.#running += 1;
      const epoch = this.#epoch;
      this.#attempt(sent)
        .catch((error: unknown) => {
          this.#onError(error);
          return false;
        })
        .then((ok) => {
          if (epoch === this.#epoch) this.#settle(sent, ok);
        })
        .finally(() => {
          this.#running -= 1;
          this.#start();
          this.#wake();
        });
    }
  }

  async #attempt({ item, stale, dueAtMs }: Sent): Promise<boolean> {
    const waitMs = dueAtMs - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    const event = this.#world.state.events.get(item.event);
    const target = this.#targetOf(item);
    if (event === undefined || target === undefined) return false;
    return post(this.#world, target, stale ? olderView(this.#world, event) : event);
  }

  #targetOf({ target }: Delivery): WebhookEndpoint | Sink | undefined {
    return this.#sinks.get(target) ?? this.#world.state.webhookEndpoints.get(target);
  }

  #settle({ item: delivery, copy }: Sent, ok: boolean): void {
    if (ok) this.totals.delivered += 1;
    else this.totals.failed += 1;
    if (ok) this.#answered(delivery);
    else if (this.#owed.has(delivery.id) && !copy) this.#planRetry(delivery);
    this.#world.touched();
  }

  #planRetry(delivery: Delivery): void {
    const { retryDelaysSeconds: delays, giveUpAfterSeconds, maxAttempts } = this.settings;
    const at = this.#world.clock.now() + (delays[delivery.attempts] ?? delays.at(-1) ?? 0);
    const attempts = delivery.attempts + 1;
    const isLast = delivery.once || delays.length === 0 || attempts === maxAttempts;
    if (isLast || at - delivery.firstAt > giveUpAfterSeconds) {
      if (this.#sinks.has(delivery.target)) this.#answered(delivery);
      // Nobody ever took it: whoever waits for an answer waits as long as Stripe would.
      else this.#owed.delete(delivery.id);
      return;
    }
    Object.assign(delivery, { attempts, waiting: true });
    this.#world.scheduler.plan('webhook_retries', at, delivery.id);
  }

  #answered(delivery: Delivery): void {
    const { unanswered, events } = this.#world.state;
    const left = (unanswered.get(delivery.event) ?? []).filter((target) => target !== delivery.target);
    if (left.length === 0) unanswered.delete(delivery.event);
    else unanswered.set(delivery.event, left);
    const event = events.get(delivery.event);
    if (event !== undefined) event.pending_webhooks = left.length;
    this.#release(delivery);
  }

  /** Nothing more will be tried. */
  #release(delivery: Delivery): void {
    if (!this.#owed.delete(delivery.id)) return;
    const event = this.#world.state.events.get(delivery.event);
    if (event !== undefined && this.deliveredOk(event.id)) this.#world.onAnswered(event);
  }
}
