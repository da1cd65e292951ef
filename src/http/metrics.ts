/**
 * What `GET /metrics` says (Prometheus text format): requests, consumes that wait, Stripe events that are not done, and
 * the process itself. Of this process alone, but for the events, which are the database's. No label names a user, a key
 * or a path that a caller made up, so their number does not grow.
 */
import type { Request, Response } from 'express';
import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Context } from '../context.ts';
import { changesWaiting } from '../lib/account-door.ts';
import { consumesWaiting } from '../lib/consume-batcher.ts';
import { countUnfinishedEvents } from '../store/inbox.ts';

/** From what a consume takes on an idle machine to what a client gives up at. */
const DURATION_BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Anybody may ask: the database is asked at most this often. */
const EVENTS_KEPT_MS = 5_000;

type Observer = { observe(seconds: number): void };

export class Metrics {
  readonly #context: Context;
  readonly #registry = new Registry();
  readonly #requests = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Requests, from their head to the end of their answer',
    labelNames: ['method', 'route', 'status_code'],
    buckets: DURATION_BUCKETS_SECONDS,
    registers: [this.#registry],
  });
  /** By method, route and status: looking the labels up anew costs more than the rest. */
  readonly #observers = new Map<string, Observer>();
  #events: { readAtMs: number; rows: ReturnType<typeof countUnfinishedEvents> } | undefined;

  constructor(context: Context) {
    this.#context = context;
    const registers = [this.#registry];
    new Gauge({
      name: 'tollgate_consumes_waiting',
      help: 'Consumes without an answer yet; 503 beyond 10,000',
      registers,
      collect() {
        this.set(consumesWaiting(context.pool));
      },
    });
    new Gauge({
      name: 'tollgate_changes_waiting',
      help: 'Holds, captures, releases, refunds and the like without an answer yet; 503 beyond 10,000',
      registers,
      collect() {
        this.set(changesWaiting(context));
      },
    });
    const unfinished = () => this.#unfinished();
    new Gauge({
      name: 'tollgate_stripe_events_unfinished',
      help: 'Stripe events in the inbox that are neither handled nor ignored',
      labelNames: ['status'],
      registers,
      async collect() {
        this.reset();
        for (const { status, count } of await unfinished()) this.set({ status }, count);
      },
    });
    new Gauge({
      name: 'tollgate_stripe_event_age_seconds',
      help: 'Age of the oldest of them',
      labelNames: ['status'],
      registers,
      async collect() {
        const nowMs = context.clock.now().getTime();
        this.reset();
        for (const { status, oldestAt } of await unfinished()) {
          this.set({ status }, oldestAt === null ? 0 : (nowMs - oldestAt.getTime()) / 1000);
        }
      },
    });
  }

  /** Counts a request whose answer has ended. What no route of ours matched is one route. */
  observe({ method, route }: Request, { statusCode }: Response, seconds: number): void {
    const path: string = route?.path ?? 'unknown';
    const id = `${method} ${path} ${statusCode}`;
    let observer = this.#observers.get(id);
    if (!observer) {
      const knownMethod = route === undefined ? 'any' : method;
      observer = this.#requests.labels(knownMethod, path, String(statusCode));
      this.#observers.set(id, observer);
    }
    observer.observe(seconds);
  }

  async text(): Promise<string> {
    const [ofProcess, own] = await Promise.all([processMetrics().metrics(), this.#registry.metrics()]);
    return `${ofProcess}${own}`;
  }

  #unfinished(): ReturnType<typeof countUnfinishedEvents> {
    const nowMs = performance.now();
    if (this.#events === undefined || nowMs - this.#events.readAtMs > EVENTS_KEPT_MS) {
      // The rest is wanted most when the database does not answer: then there are no lines about events.
      const rows = countUnfinishedEvents(this.#context.pool).catch((error: unknown) => {
        this.#context.log.warn({ err: error }, 'The inbox could not be counted');
        return [];
      });
      this.#events = { readAtMs: nowMs, rows };
    }
    return this.#events.rows;
  }
}

let ofProcess: Registry | undefined;

/** Memory, CPU, event loop, garbage collection: one set, however many contexts a process has. */
function processMetrics(): Registry {
  if (!ofProcess) {
    ofProcess = new Registry();
    collectDefaultMetrics({ register: ofProcess });
  }
  return ofProcess;
}

const metrics = new WeakMap<Context, Metrics>();

/** Of the API, and of the operator's port where it has one of its own. */
export function metricsOf(context: Context): Metrics {
  const known = metrics.get(context) ?? new Metrics(context);
  metrics.set(context, known);
  // Counts from the start, and not from the first question on.
  processMetrics();
  return known;
}
