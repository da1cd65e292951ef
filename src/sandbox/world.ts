import type { Clock } from './clock.ts';
import { previousAttributes } from './diff.ts';
import { newId } from './ids.ts';
import { Scheduler } from './scheduler.ts';
import { State } from './state.ts';
import type { SandboxEvent, WebhookEndpoint } from './wire.ts';

export const API_VERSION = '2026-10-28.endive';

export interface RequestContext {
  id: string;
  idempotencyKey: string | null;
}

/** Everything a resource or a lifecycle rule may touch: objects, time, what is due, and events. */
export class World {
  readonly clock: Clock;
  readonly scheduler = new Scheduler();
  /** Where hosted pages live. */
  readonly baseUrl: () => string;
  state = new State();
  /** The API request being handled; null while the lifecycle runs by itself. */
  request: RequestContext | null = null;
  onEvent: (event: SandboxEvent) => void = () => undefined;
  /** Sends an event once more, to one endpoint. */
  resend: (event: SandboxEvent, endpoint: WebhookEndpoint) => void = () => undefined;

  constructor(clock: Clock, baseUrl: () => string) {
    this.clock = clock;
    this.baseUrl = baseUrl;
  }

  now(): number {
    return this.clock.now();
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
    this.onEvent(event);
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
