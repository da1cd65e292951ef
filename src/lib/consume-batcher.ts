/**
 * Group commit. While one batch is being committed the consumes that arrive gather, and go out together as the next;
 * no timer, so an idle service commits at once. On one PostgreSQL there is one such lane; on Citus one for each bucket,
 * of which a few commit at once and the others gather meanwhile (docs/decisions/0008). What a batch cannot decide
 * (store/consume-batch.ts) is decided alone, and so is each request of a batch that failed: no request fails or waits
 * because of another user's.
 */
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { DatabaseError } from 'pg';
import { TollgateError } from '../errors.ts';
import { type BatchedConsume, consumeBatch, type Decision } from '../store/consume-batch.ts';
import type { Pool } from '../store/database.ts';
import { type Lane, readLanes } from '../store/lanes.ts';

const BATCH_MAX = 500;
/**
 * With so many waiting the next batch goes out before the last one is answered; with fewer it waits for what arrives in
 * this turn of the event loop. Always waiting cost a tenth of the consumes a second, never waiting half as much again in
 * flushes to disk.
 */
const ENOUGH = 24;
/** Each takes a connection; beyond this, what waits is better gathered into larger batches. */
const LANES_AT_ONCE_MAX = 6;
/** More than a second of work: whoever comes then is better off with another process, or later. */
const WAITING_MAX = 10_000;
/** Of the pool's connections; the others stay free for batches and for the other routes. */
const ALONE_AT_ONCE_MAX = 4;
const RETRY_AFTER_SECONDS = 1;

interface Waiting {
  request: BatchedConsume;
  /** The one-by-one path. @throws TollgateError */
  decideAlone(): Promise<Decision>;
  resolve(decision: Decision): void;
  reject(error: unknown): void;
  /** The same user and key, while this one was waiting. */
  repeats: Waiting[];
  /** It was in a batch that failed. */
  isSuspect: boolean;
}

export class ConsumeBatcher {
  readonly #pool: Pool;
  /** How many have no answer yet. */
  #waiting = 0;
  /** Unknown until the database was asked. */
  #laneOf: ((userId: string) => Lane) | undefined;
  #isAsking = false;
  /** Until then. */
  #arrived: Waiting[] = [];
  /** Lanes with what waits in them, in the order in which they will be taken. */
  readonly #queues = new Map<Lane, Waiting[]>();
  readonly #committing = new Set<Lane>();
  /** Users of whom one request is being decided alone, with those that wait until it is. */
  readonly #apart = new Map<string, Waiting[]>();
  readonly #alone: Waiting[] = [];
  #aloneAtOnce = 0;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /**
   * @param decideAlone the one-by-one path, for what a batch cannot decide; what it throws is thrown here
   * @throws TollgateError `unavailable` where too many are waiting
   */
  decide(request: BatchedConsume, decideAlone: () => Promise<Decision>): Promise<Decision> {
    if (this.#waiting >= WAITING_MAX) {
      const message = 'More is being asked than can be done in time: try again in a moment.';
      throw new TollgateError('unavailable', message, { retryAfterSeconds: RETRY_AFTER_SECONDS });
    }
    this.#waiting++;
    return new Promise((resolve, reject) => {
      this.#enqueue({ request, decideAlone, resolve, reject, repeats: [], isSuspect: false });
    });
  }

  #enqueue(waiting: Waiting): void {
    const apart = this.#apart.get(waiting.request.userId);
    if (apart) {
      apart.push(waiting);
      return;
    }
    if (!this.#laneOf) {
      this.#arrived.push(waiting);
      void this.#askForLanes();
      return;
    }
    const lane = this.#laneOf(waiting.request.userId);
    const queue = this.#queues.get(lane);
    if (queue) queue.push(waiting);
    else this.#queues.set(lane, [waiting]);
    this.#startLane(lane);
  }

  async #askForLanes(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      this.#laneOf = await readLanes(this.#pool);
      for (const waiting of this.#arrived.splice(0)) this.#enqueue(waiting);
    } catch (error) {
      for (const waiting of this.#arrived.splice(0)) this.#fail(waiting, error);
    } finally {
      this.#isAsking = false;
    }
  }

  #startLane(lane: Lane): void {
    if (this.#committing.has(lane) || this.#committing.size >= LANES_AT_ONCE_MAX) return;
    this.#committing.add(lane);
    void this.#commit(lane);
  }

  async #commit(lane: Lane): Promise<void> {
    if ((this.#queues.get(lane)?.length ?? 0) < ENOUGH) await turnOfEventLoop();
    const batch = this.#nextBatch(lane);
    let decisions: Awaited<ReturnType<typeof consumeBatch>>;
    try {
      decisions = await consumeBatch(
        this.#pool,
        lane,
        batch.map(({ request }) => request),
      );
    } catch (error) {
      this.#failBatch(batch, error);
      this.#startNext(lane);
      return;
    }
    // The database goes on with the next while these are answered.
    this.#startNext(lane);
    await sent();
    this.#settleBatch(batch, decisions);
  }

  #startNext(done: Lane): void {
    this.#committing.delete(done);
    for (const next of this.#queues.keys()) {
      if (this.#committing.size >= LANES_AT_ONCE_MAX) break;
      this.#startLane(next);
    }
  }

  #nextBatch(lane: Lane): Waiting[] {
    const batch = new Map<string, Waiting>();
    const queue = this.#queues.get(lane) ?? [];
    const taken = queue.splice(0, BATCH_MAX);
    // What is left goes to the end of the line.
    this.#queues.delete(lane);
    if (queue.length > 0) this.#queues.set(lane, queue);
    for (const waiting of taken) {
      const id = `${waiting.request.userId} ${waiting.request.key}`;
      const first = batch.get(id);
      if (first) first.repeats.push(waiting);
      else batch.set(id, waiting);
    }
    return [...batch.values()];
  }

  #settleBatch(batch: readonly Waiting[], decisions: readonly (Decision | undefined)[]): void {
    batch.forEach((waiting, index) => {
      const decision = decisions[index];
      if (decision) this.#settle(waiting, decision);
      else this.#setApart(waiting);
    });
  }

  #failBatch(batch: readonly Waiting[], error: unknown): void {
    const isDatabaseAway = !(error instanceof DatabaseError) || /^(?:08|53|57P)/.test(error.code ?? '');
    for (const waiting of batch) {
      if (isDatabaseAway) this.#fail(waiting, error);
      else {
        waiting.isSuspect = true;
        this.#setApart(waiting);
      }
    }
  }

  /** One at a time per user: the first applies what is due, after which a batch can decide the others. */
  #setApart(waiting: Waiting): void {
    const apart = this.#apart.get(waiting.request.userId);
    if (apart) {
      apart.push(waiting);
      return;
    }
    this.#apart.set(waiting.request.userId, []);
    this.#alone.push(waiting);
    this.#startAlone();
  }

  #startAlone(): void {
    while (this.#aloneAtOnce < ALONE_AT_ONCE_MAX) {
      const waiting = this.#alone.shift();
      if (!waiting) return;
      this.#aloneAtOnce++;
      waiting
        .decideAlone()
        .then(
          (decision) => this.#settle(waiting, decision),
          (error) => this.#fail(waiting, error),
        )
        .finally(() => {
          this.#aloneAtOnce--;
          this.#rejoin(waiting.request.userId);
          this.#startAlone();
        });
    }
  }

  #rejoin(userId: string): void {
    const others = this.#apart.get(userId) ?? [];
    this.#apart.delete(userId);
    for (const waiting of others) {
      if (waiting.isSuspect) this.#setApart(waiting);
      else this.#enqueue(waiting);
    }
  }

  /** A repeat of the same request gets the same answer; another request under that key is decided by itself. */
  #settle(waiting: Waiting, decision: Decision): void {
    this.#end(() => waiting.resolve(decision));
    const again = decision.outcome === 'taken' ? { ...decision, outcome: 'replayed' as const } : decision;
    this.#endRepeats(waiting, (repeat) => this.#end(() => repeat.resolve(again)));
  }

  #fail(waiting: Waiting, error: unknown): void {
    this.#end(() => waiting.reject(error));
    this.#endRepeats(waiting, (repeat) => this.#end(() => repeat.reject(error)));
  }

  #end(answer: () => void): void {
    this.#waiting--;
    answer();
  }

  #endRepeats(waiting: Waiting, end: (repeat: Waiting) => void): void {
    for (const repeat of waiting.repeats) {
      if (repeat.request.requestHash.equals(waiting.request.requestHash)) end(repeat);
      else this.#enqueue(repeat);
    }
  }
}

/** The pool hands out a connection in the next tick: after it the statement is on its way. */
function sent(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

const batchers = new WeakMap<Pool, ConsumeBatcher>();

/** One per database connection pool. */
export function batcherOf(pool: Pool): ConsumeBatcher {
  const batcher = batchers.get(pool) ?? new ConsumeBatcher(pool);
  batchers.set(pool, batcher);
  return batcher;
}

/** How many consumes of this process have no answer yet. */
export function consumesWaiting(pool: Pool): number {
  return batchers.get(pool)?.waiting ?? 0;
}
