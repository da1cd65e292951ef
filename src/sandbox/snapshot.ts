import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { Deliverer } from './delivery.ts';
import type { IdempotencyKeys } from './http/idempotency.ts';
import { type Job, PLANNED_KINDS } from './scheduler.ts';
import { State } from './state.ts';
import { API_VERSION, type World } from './world.ts';

const FORMAT = 'tollgate stripe sandbox';
const VERSION = 1;
/** A call causes a dozen changes, and a clock that is moved a thousand: one write for all of them. */
const WRITES_AFTER_MS = 300;
/** However large the state grows, writing it takes no more than a tenth of the time. */
const REST_PER_WRITE = 10;
/** Stripe forgets events after 30 days; they are most of the state. */
const EVENT_DAYS = 30;

const job = z.object({
  atMs: z.number(),
  kind: z.string(),
  id: z.string(),
  clock: z.string().nullable(),
});
const delivery = z.object({
  id: z.string(),
  event: z.string(),
  target: z.string(),
  attempts: z.number(),
  firstAt: z.number(),
  once: z.boolean(),
  waiting: z.boolean(),
});
const answer = z.object({ status: z.number(), body: z.string() });
/** Of what another version has written, all that has this shape is kept. */
const fileSchema = z.object({
  format: z.literal(FORMAT),
  version: z.number(),
  apiVersion: z.string(),
  nowMs: z.number(),
  offsetMs: z.number(),
  state: z.record(z.string(), z.unknown()),
  jobs: z.array(job),
  deliveries: z.array(delivery),
  keys: z.array(z.tuple([z.string(), z.object({ request: z.unknown(), at: z.number(), answer })])),
});
const entries = z.array(z.tuple([z.string(), z.unknown()]));

export interface SnapshotParts {
  world: World;
  deliverer: Deliverer;
  keys: IdempotencyKeys;
}

function plainState(world: World): Record<string, unknown> {
  const { state } = world;
  const since = world.clock.now() - EVENT_DAYS * 86_400;
  const plain: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(state) as [string, unknown][]) {
    plain[name] = value instanceof Map || value instanceof Set ? [...value] : value;
  }
  const kept = [...state.events].filter(([id, event]) => (state.emittedAt.get(id) ?? event.created) >= since);
  const ids = new Set(kept.map(([id]) => id));
  return {
    ...plain,
    events: kept,
    unanswered: [...state.unanswered].filter(([id]) => ids.has(id)),
    emittedAt: [...state.emittedAt].filter(([id]) => ids.has(id)),
  };
}

/** Fields that this version does not know are left behind, those that the file lacks stay empty. */
function stateOf(plain: Record<string, unknown>): State {
  const state = new State();
  const changes: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(state) as [string, unknown][]) {
    const saved = plain[name];
    if (saved === undefined) continue;
    if (value instanceof Map) changes[name] = new Map(entries.parse(saved));
    else if (value instanceof Set) changes[name] = new Set(z.array(z.string()).parse(saved));
    else changes[name] = saved;
  }
  return Object.assign(state, changes);
}

/** Another version may have planned what this one does not do. */
function knownJob({ kind, ...rest }: z.output<typeof job>): Job[] {
  return PLANNED_KINDS.flatMap((known) => (known === kind ? [{ ...rest, kind: known }] : []));
}

function content({ world, deliverer, keys }: SnapshotParts): string {
  return JSON.stringify({
    format: FORMAT,
    version: VERSION,
    apiVersion: API_VERSION,
    nowMs: world.clock.nowMs(),
    offsetMs: world.clock.offsetMs,
    state: plainState(world),
    jobs: world.scheduler.save(),
    deliveries: deliverer.save(),
    keys: keys.save(),
  });
}

function refusal(file: string, reason: string): Error {
  return new Error(
    `${file} is no snapshot of the Stripe sandbox (${reason}); move it away to start with an empty one`,
  );
}

function read(file: string): z.output<typeof fileSchema> {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw refusal(file, error instanceof Error ? error.message : String(error));
  }
  const parsed = fileSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw refusal(file, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`);
}

/** The sandbox on disk, so that a restart finds everything as it was. */
export class Snapshot {
  readonly #file: string;
  readonly #parts: SnapshotParts;
  readonly #onError: (error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;
  #lastWriteMs = 0;

  constructor(file: string, parts: SnapshotParts, onError: (error: unknown) => void) {
    this.#file = file;
    this.#parts = parts;
    this.#onError = onError;
  }

  /** Whether there was one. */
  load(): boolean {
    if (!existsSync(this.#file)) return false;
    const { world, deliverer, keys } = this.#parts;
    const saved = read(this.#file);
    try {
      world.state = stateOf(saved.state);
    } catch (error) {
      throw refusal(this.#file, error instanceof Error ? error.message : String(error));
    }
    world.clock.restore(saved.offsetMs, saved.nowMs);
    world.scheduler.restore(saved.jobs.flatMap(knownJob));
    deliverer.restore(saved.deliveries);
    keys.restore(saved.keys);
    return true;
  }

  touch(): void {
    this.#timer ??= setTimeout(
      () => {
        try {
          this.write();
        } catch (error) {
          this.#onError(error);
        }
      },
      Math.max(WRITES_AFTER_MS, REST_PER_WRITE * this.#lastWriteMs),
    ).unref();
  }

  /** Whole or not at all: a reader, or a crash in the middle, never sees half a file. */
  write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const startedMs = performance.now();
    mkdirSync(dirname(this.#file), { recursive: true, mode: 0o700 });
    const temporary = `${this.#file}.${process.pid}.tmp`;
    // Secrets of endpoints are in it.
    writeFileSync(temporary, content(this.#parts), { mode: 0o600 });
    renameSync(temporary, this.#file);
    this.#lastWriteMs = performance.now() - startedMs;
  }
}
