import type { Clock } from './clock.ts';
import { previousAttributes } from './diff.ts';
import { newId } from './ids.ts';
import { Scheduler } from './scheduler.ts';
import { State } from './state.ts';
import type { Sink } from './targets.ts';
import type { SandboxEvent, WebhookEndpoint } from './wire.ts';

export const API_VERSION = '2026-10-28.endive';

export interface RequestContext {
  id: string;
  idempotencyKey: string | null;
}

/** Everything a resource or a lifecycle rule may touch: objects, time, what is due, and events. */
export class World {
  /** Global virtual time; `now()` is the time of whoever is being served. */
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  /** Where hosted pages live. */
  readonly baseUrl: () => string;
  state = new State();
  /** The API request being handled; null while the lifecycle runs by itself. */
  request: RequestContext | null = null;
  /** The test clock of the objects being handled; what is created meanwhile inherits it. */
  testClock: string | null = null;
  onEvent: (event: SandboxEvent) => void = () => undefined;
  /** No attempt at delivering this event is outstanding any more. */
  onAnswered: (event: SandboxEvent) => void = () => undefined;
  deliveredOk: (eventId: string) => boolean = () => true;
  /** Resolves when the receiver has dealt with what it was sent. */
  receiverIdle: () => Promise<void> = async () => undefined;
  /** Sends an event once more, to one endpoint. */
  resend: (event: SandboxEvent, endpoint: WebhookEndpoint) => void = () => undefined;
  resendToSinks: (event: SandboxEvent) => void = () => undefined;
  /** A receiver inside this process (`stripe listen`); call what it returns when the receiver goes away. */
  addSink: (sink: Sink) => () => void = () => () => undefined;
  /** Lets a test clock run to its target once the present request is answered. */
  startTestClock: (id: string, target: number) => void = () => undefined;
  /** Something changed that a snapshot has to hold. */
  touched: () => void = () => undefined;

  constructor(clock: Clock, baseUrl: () => string) {
    this.clock = clock;
    this.baseUrl = baseUrl;
    this.scheduler = new Scheduler(() => this.testClock);
  }

  /** Seconds; a test clock's frozen time while its objects are being handled. */
  now(): number {
    const frozen = this.testClock === null ? undefined : this.state.clockInstants.get(this.testClock);
    return frozen ?? this.clock.now();
  }

  /** Handles objects of a test clock (or of none). */
  within<T>(testClock: string | null, run: () => T): T {
    const outer = this.testClock;
    this.testClock = testClock;
    try {
      return run();
    } finally {
      this.testClock = outer;
    }
  }

  emit(type: string, object: object, previous?: object): SandboxEvent {
    const event: SandboxEvent = {
      id: newId('evt'),
      object: 'event',
      api_version: API_VERSION,
      created: this.now(),
      data: {
        object: structuredClone(object),
        ...(previous === undefined ? {} : { previous_attributes: structuredClone(previous) }),
      },
      livemode: false,
      pending_webhooks: 0,
      request: { id: this.request?.id ?? null, idempotency_key: this.request?.idempotencyKey ?? null },
      type,
    };
    this.state.events.set(event.id, event);
    if (this.testClock !== null) this.state.emittedAt.set(event.id, this.clock.now());
    this.onEvent(event);
    this.touched();
    return event;
  }

  /** Changes an object and, if anything did change, tells so with the old values. */
  update<T extends object>(type: string, object: T, changes: Partial<T>): void {
    const before = structuredClone(object);
    Object.assign(object, changes);
    const previous = previousAttributes(before, object);
    if (Object.keys(previous).length > 0) this.emit(type, object, previous);
  }
}
