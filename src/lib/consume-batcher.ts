/**
 * Group commit. While one batch is being committed the consumes that arrive gather, and go out together as the next;
 * no timer, so an idle service commits at once. A second batch, of other users, goes out beside the first where enough
 * have gathered for one: it is decided while the first waits for its flush to disk. On one PostgreSQL there is one such
 * lane; on Citus one for each bucket, of which a few commit at once and the others gather meanwhile
 * (docs/decisions/0008). What a batch cannot decide (store/consume-batch.ts) is decided alone, and so is each request of
 * a batch that failed: no request fails or waits because of another user's.
 */
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { DatabaseError } from 'pg';
import { TollgateError } from '../errors.ts';
import {
  type BatchedConsume,
  consumeBatch,
  type Decision,
  type Lane,
  readLanes,
} from '../store/consume-batch.ts';
import type { Pool } from '../store/database.ts';
import { HeldUsers } from './held-users.ts';
import { LaneQueues } from './lane-queues.ts';

const BATCH_MAX = 500;
/**
 * With so many waiting the next batch goes out before the last one is answered; with fewer it waits for what arrives in
 * this turn of the event loop. Always waiting cost a tenth of the consumes a second, never waiting half as much again in
 * flushes to disk.
 */
const ENOUGH = 24;
/** Of the lane that has everybody. A bucket has one: its batches are small as it is. */
const BATCHES_OF_ALL_MAX = 2;
/** Each takes a connection; beyond this, what waits is better gathered into larger batches. */
const BATCHES_AT_ONCE_MAX = 6;
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
  readonly #queues = new LaneQueues<Waiting>();
  /** Batches under way: in each lane that has any, and in all. */
  readonly #underWay = new Map<Lane, number>();
  #batchesUnderWay = 0;
  /** In a batch or alone. */
  readonly #held = new HeldUsers<Waiting>();
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
    if (!this.#laneOf) {
      this.#arrived.push(waiting);
      void this.#askForLanes();
      return;
    }
    this.#place(waiting);
    this.#startBatch(this.#laneOf(waiting.request.userId));
  }

  #place(waiting: Waiting): void {
    const { userId } = waiting.request;
    if (this.#held.has(userId)) this.#held.wait(userId, waiting);
    else this.#queues.push(this.#laneOf?.(userId) ?? null, waiting);
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

  #startBatch(lane: Lane): void {
    const underWay = this.#underWay.get(lane) ?? 0;
    const most = lane === null ? BATCHES_OF_ALL_MAX : 1;
    if (underWay >= most || this.#batchesUnderWay >= BATCHES_AT_ONCE_MAX) return;
    if (underWay > 0 && this.#queues.lengthOf(lane) < ENOUGH) return;
    this.#underWay.set(lane, underWay + 1);
    this.#batchesUnderWay++;
    void this.#commit(lane);
  }

  async #commit(lane: Lane): Promise<void> {
    if (this.#queues.lengthOf(lane) < ENOUGH) await turnOfEventLoop();
    const batch = this.#nextBatch(lane);
    if (batch.length === 0) {
      // What gathered in that turn was enough for the second batch, which took it.
      this.#end(lane);
      return;
    }
    let decisions: Awaited<ReturnType<typeof consumeBatch>>;
    try {
      decisions = await consumeBatch(
        this.#pool,
        lane,
        batch.map(({ request }) => request),
      );
    } catch (error) {
      this.#failBatch(batch, error);
      this.#end(lane);
      return;
    }
    const apart = this.#setApart(batch.filter((_, index) => !decisions[index]));
    for (const userId of usersOf(batch)) if (!apart.has(userId)) this.#letGo(userId);
    // The database goes on with the next while these are answered.
    this.#end(lane);
    await sent();
    batch.forEach((waiting, index) => {
      const decision = decisions[index];
      if (decision) this.#settle(waiting, decision);
    });
  }

  #end(done: Lane): void {
    const underWay = (this.#underWay.get(done) ?? 1) - 1;
    if (underWay === 0) this.#underWay.delete(done);
    else this.#underWay.set(done, underWay);
    this.#batchesUnderWay--;
    this.#startWaiting();
  }

  #startWaiting(): void {
    for (const lane of this.#queues.lanes()) {
      if (this.#batchesUnderWay >= BATCHES_AT_ONCE_MAX) break;
      this.#startBatch(lane);
    }
  }

  #nextBatch(lane: Lane): Waiting[] {
    const batch = new Map<string, Waiting>();
    const users = new Set<string>();
    for (const waiting of this.#queues.take(lane, BATCH_MAX)) {
      const { userId, key } = waiting.request;
      // In the batch before this one, which had no room for all of its user's requests.
      if (this.#held.has(userId) && !users.has(userId)) {
        this.#held.wait(userId, waiting);
        continue;
      }
      users.add(userId);
      this.#held.hold(userId);
      const id = `${userId} ${key}`;
      const first = batch.get(id);
      if (first) first.repeats.push(waiting);
      else batch.set(id, waiting);
    }
    return [...batch.values()];
  }

  #failBatch(batch: readonly Waiting[], error: unknown): void {
    const isDatabaseAway = !(error instanceof DatabaseError) || /^(?:08|53|57P)/.test(error.code ?? '');
    if (isDatabaseAway) {
      for (const userId of usersOf(batch)) this.#letGo(userId);
      for (const waiting of batch) this.#fail(waiting, error);
      return;
    }
    for (const waiting of batch) waiting.isSuspect = true;
    this.#setApart(batch);
  }

  /**
   * One at a time per user, who stays held: the first applies what is due, after which a batch can decide the others.
   * @returns the users
   */
  #setApart(requests: readonly Waiting[]): ReadonlySet<string> {
    const users = new Set<string>();
    for (const waiting of requests) {
      const { userId } = waiting.request;
      if (users.has(userId)) this.#held.wait(userId, waiting);
      else this.#alone.push(waiting);
      users.add(userId);
    }
    this.#startAlone();
    return users;
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
          this.#letGo(waiting.request.userId);
          this.#startWaiting();
          this.#startAlone();
        });
    }
  }

  /** Whoever has waited may start: #startWaiting. */
  #letGo(userId: string): void {
    for (const waiting of this.#held.letGo(userId)) {
      if (!waiting.isSuspect || this.#held.has(userId)) this.#place(waiting);
      else {
        this.#held.hold(userId);
        this.#setApart([waiting]);
      }
    }
  }

  /** A repeat of the same request gets the same answer; another request under that key is decided by itself. */
  #settle(waiting: Waiting, decision: Decision): void {
    this.#answer(() => waiting.resolve(decision));
    const again = decision.outcome === 'taken' ? { ...decision, outcome: 'replayed' as const } : decision;
    this.#endRepeats(waiting, (repeat) => this.#answer(() => repeat.resolve(again)));
  }

  #fail(waiting: Waiting, error: unknown): void {
    this.#answer(() => waiting.reject(error));
    this.#endRepeats(waiting, (repeat) => this.#answer(() => repeat.reject(error)));
  }

  #answer(answer: () => void): void {
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

function usersOf(requests: readonly Waiting[]): ReadonlySet<string> {
  return new Set(requests.map(({ request }) => request.userId));
}

/** The pool hands out a connection in the next tick: after it the statement is on its way. */
const sent = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));

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
