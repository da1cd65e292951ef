/**
 * What group commit is made of. While one group is being committed the requests that arrive gather, and go out together
 * as the next; no timer, so an idle service commits at once. On one PostgreSQL there is one such lane; on Citus one for
 * each bucket, of which a few commit at once and the others gather meanwhile (docs/decisions/0008). What a group cannot
 * decide is decided apart from it, and so is each request of a group that failed: no request fails or waits because of
 * another user's.
 */
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { TollgateError } from '../errors.ts';
import { isReachable, type Pool } from '../store/database.ts';
import { type Lane, readLanes } from '../store/lanes.ts';

/**
 * With so many waiting the next group goes out before the last one is answered; with fewer it waits for what arrives in
 * this turn of the event loop. Always waiting cost a tenth of the consumes a second, never waiting half as much again in
 * flushes to disk.
 */
const ENOUGH = 24;
/** Each takes a connection; beyond this, what waits is better gathered into larger groups. */
const LANES_AT_ONCE_MAX = 6;
/** More than a second of work: whoever comes then is better off with another process, or later. */
const WAITING_MAX = 10_000;
const RETRY_AFTER_SECONDS = 1;

/** What became of one request. */
export type Outcome<Result> = { result: Result } | { error: unknown };

export interface GroupRules<Request, Result> {
  /** Requests of one group. */
  max: number;
  /**
   * One commit for all, or an error and none.
   * @param requests of users of this lane
   * @returns one outcome per request; undefined where it has to be decided apart
   */
  together(lane: Lane, requests: readonly Request[]): Promise<(Outcome<Result> | undefined)[]>;
  /**
   * What the group left undecided of one user, or all that it had of the user where it failed. Where this fails as well
   * it is asked again for each request alone.
   */
  apart(lane: Lane, requests: readonly Request[]): Promise<Outcome<Result>[]>;
  /** Users whose requests are decided apart at once. */
  apartAtOnceMax: number;
}

interface Waiting<Request, Result> {
  request: Request;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/** Requests of one user. */
interface Apart<W> {
  userId: string;
  underWay: W[];
  /** Arrived meanwhile; they go the common way again, where a group can decide them once what was due is applied. */
  meanwhile: W[];
}

export class GroupQueue<Request extends { userId: string }, Result> {
  readonly #pool: Pool;
  readonly #rules: GroupRules<Request, Result>;
  /** How many have no answer yet. */
  #waiting = 0;
  /** Unknown until the database was asked. */
  #laneOf: ((userId: string) => Lane) | undefined;
  #isAsking = false;
  /** Until then. */
  #arrived: Waiting<Request, Result>[] = [];
  /** Lanes with what waits in them, in the order in which they will be taken. */
  readonly #queues = new Map<Lane, Waiting<Request, Result>[]>();
  readonly #committing = new Set<Lane>();
  readonly #apart = new Map<string, Apart<Waiting<Request, Result>>>();
  /** Those of them whose turn has not come. */
  readonly #nextApart: Apart<Waiting<Request, Result>>[] = [];
  #apartAtOnce = 0;

  constructor(pool: Pool, rules: GroupRules<Request, Result>) {
    this.#pool = pool;
    this.#rules = rules;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** @throws TollgateError `unavailable` where too many are waiting */
  decide(request: Request): Promise<Result> {
    if (this.#waiting >= WAITING_MAX) {
      const message = 'More is being asked than can be done in time: try again in a moment.';
      throw new TollgateError('unavailable', message, { retryAfterSeconds: RETRY_AFTER_SECONDS });
    }
    this.#waiting++;
    return new Promise((resolve, reject) => this.#enqueue({ request, resolve, reject }));
  }

  #enqueue(waiting: Waiting<Request, Result>): void {
    const { userId } = waiting.request;
    const apart = this.#apart.get(userId);
    if (apart) {
      apart.meanwhile.push(waiting);
      return;
    }
    if (!this.#laneOf) {
      this.#arrived.push(waiting);
      void this.#askForLanes();
      return;
    }
    const lane = this.#laneOf(userId);
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
      for (const waiting of this.#arrived.splice(0)) this.#settle(waiting, { error });
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
    const group = this.#nextGroup(lane);
    let outcomes: (Outcome<Result> | undefined)[];
    try {
      outcomes = await this.#rules.together(
        lane,
        group.map(({ request }) => request),
      );
    } catch (error) {
      outcomes = await this.#outcomesOfFailed(group, error);
    }
    // The database goes on with the next while these are answered.
    this.#startNext(lane);
    await sent();
    this.#settleGroup(group, outcomes);
  }

  #startNext(done: Lane): void {
    this.#committing.delete(done);
    for (const next of this.#queues.keys()) {
      if (this.#committing.size >= LANES_AT_ONCE_MAX) break;
      this.#startLane(next);
    }
  }

  #nextGroup(lane: Lane): Waiting<Request, Result>[] {
    const queue = this.#queues.get(lane) ?? [];
    const taken = queue.splice(0, this.#rules.max);
    // What is left goes to the end of the line.
    this.#queues.delete(lane);
    if (queue.length > 0) this.#queues.set(lane, queue);
    return taken;
  }

  /** Where the database is away it is away for all of them; else one of them is at fault, and they are taken apart. */
  async #outcomesOfFailed(
    group: readonly Waiting<Request, Result>[],
    error: unknown,
  ): Promise<(Outcome<Result> | undefined)[]> {
    const isAtFault = await isReachable(this.#pool);
    return group.map(() => (isAtFault ? undefined : { error }));
  }

  #settleGroup(
    group: readonly Waiting<Request, Result>[],
    outcomes: readonly (Outcome<Result> | undefined)[],
  ): void {
    const undecided = new Map<string, Waiting<Request, Result>[]>();
    group.forEach((waiting, index) => {
      const outcome = outcomes[index];
      const others = undecided.get(waiting.request.userId);
      if (outcome) this.#settle(waiting, outcome);
      else if (others) others.push(waiting);
      else undecided.set(waiting.request.userId, [waiting]);
    });
    for (const [userId, underWay] of undecided) this.#setApart(userId, underWay);
  }

  #setApart(userId: string, underWay: Waiting<Request, Result>[]): void {
    const known = this.#apart.get(userId);
    if (known) {
      known.meanwhile.push(...underWay);
      return;
    }
    const apart = { userId, underWay, meanwhile: [] };
    this.#apart.set(userId, apart);
    this.#nextApart.push(apart);
    this.#startApart();
  }

  #startApart(): void {
    while (this.#apartAtOnce < this.#rules.apartAtOnceMax) {
      const apart = this.#nextApart.shift();
      if (!apart) return;
      this.#apartAtOnce++;
      void this.#decideApart(apart);
    }
  }

  async #decideApart({ userId, underWay, meanwhile }: Apart<Waiting<Request, Result>>): Promise<void> {
    const outcomes = await this.#outcomesApart(
      this.#laneOf?.(userId) ?? null,
      underWay.map(({ request }) => request),
    );
    underWay.forEach((waiting, index) => {
      this.#settle(waiting, outcomes[index] ?? { error: new Error('A request was left undecided.') });
    });
    this.#apartAtOnce--;
    this.#apart.delete(userId);
    for (const waiting of meanwhile) this.#enqueue(waiting);
    this.#startApart();
  }

  async #outcomesApart(lane: Lane, requests: readonly Request[]): Promise<Outcome<Result>[]> {
    try {
      return await this.#rules.apart(lane, requests);
    } catch (error) {
      if (requests.length === 1 || !(await isReachable(this.#pool))) return requests.map(() => ({ error }));
      const outcomes: Outcome<Result>[] = [];
      for (const request of requests) outcomes.push(...(await this.#outcomesApart(lane, [request])));
      return outcomes;
    }
  }

  #settle({ resolve, reject }: Waiting<Request, Result>, outcome: Outcome<Result>): void {
    this.#waiting--;
    if ('error' in outcome) reject(outcome.error);
    else resolve(outcome.result);
  }
}

/** The pool hands out a connection in the next tick: after it the statement is on its way. */
function sent(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
