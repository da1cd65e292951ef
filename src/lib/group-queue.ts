/**
 * What group commit is made of. While one group is being committed the requests that arrive gather, and go out together
 * as the next; no timer, so an idle service commits at once. A second group goes out beside the first where enough have
 * gathered for one, so that PostgreSQL has it at once; a third where a whole one waits (group-pace.ts). It is of other
 * users, unless it is decided after the first anyway (group-rules.ts). On one PostgreSQL there is one such lane; on Citus
 * one for each bucket, of which a few commit at once and the others gather meanwhile (docs/decisions/0008). What a group
 * cannot decide is decided apart from it, and so is each request of a group that failed: no request fails or waits
 * because of another user's.
 */
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { TollgateError } from '../errors.ts';
import { isReachable, type Pool } from '../store/database.ts';
import { type Lane, readLanes } from '../store/lanes.ts';
import { ENOUGH, ENOUGH_BESIDE, GROUPS_AT_ONCE_MAX, GROUPS_OF_ALL_MAX, HALF_MIN } from './group-pace.ts';
import type { GroupRules } from './group-rules.ts';
import { HeldUsers } from './held-users.ts';
import { LaneQueues } from './lane-queues.ts';
import { type Asker, AskerOfMany, askerOfOne, type Outcome } from './outcomes.ts';

/** More than a second of work: whoever comes then is better off with another process, or later. */
const WAITING_MAX = 10_000;
const RETRY_AFTER_SECONDS = 1;

interface Waiting<Request, Result> {
  request: Request;
  asker: Asker<Result>;
  /** Of the request among those of its asker. */
  place: number;
}

/** Requests of one user. */
interface Apart<W> {
  userId: string;
  underWay: W[];
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
  readonly #queues = new LaneQueues<Waiting<Request, Result>>();
  /** Groups under way: in each lane that has any, and in all. */
  readonly #underWay = new Map<Lane, number>();
  #groupsUnderWay = 0;
  /** Lanes whose next group takes what arrives in this turn of the event loop. */
  readonly #gathering = new Set<Lane>();
  /**
   * In a group or apart. What waits for them goes the common way again, where a group can decide it once what was due is
   * applied.
   */
  readonly #held = new HeldUsers<Waiting<Request, Result>>();
  /** Those who are to be decided apart and whose turn has not come. */
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
    return new Promise((resolve, reject) => {
      this.#ask({ request, asker: askerOfOne(resolve, reject), place: 0 });
    });
  }

  /** Each by itself; where too many are waiting the error of what is beyond them is `unavailable`. */
  decideEach(requests: readonly Request[]): Promise<Outcome<Result>[]> {
    const asker = new AskerOfMany<Result>(requests.length);
    requests.forEach((request, place) => {
      this.#ask({ request, asker, place });
    });
    return asker.all;
  }

  #ask(waiting: Waiting<Request, Result>): void {
    if (this.#waiting >= WAITING_MAX) {
      const message = 'More is being asked than can be done in time: try again in a moment.';
      const error = new TollgateError('unavailable', message, { retryAfterSeconds: RETRY_AFTER_SECONDS });
      waiting.asker.settle({ error }, waiting.place);
      return;
    }
    this.#waiting++;
    this.#enqueue(waiting);
  }

  #enqueue(waiting: Waiting<Request, Result>): void {
    if (!this.#laneOf) {
      this.#arrived.push(waiting);
      void this.#askForLanes();
      return;
    }
    this.#place(waiting);
    this.#startGroup(this.#laneOf(waiting.request.userId));
  }

  #place(waiting: Waiting<Request, Result>): void {
    const { userId } = waiting.request;
    if (this.#held.mustWait(userId, true)) this.#held.wait(userId, waiting);
    else this.#queues.push(this.#laneOf?.(userId) ?? null, waiting);
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

  #startGroup(lane: Lane): void {
    if (this.#gathering.has(lane)) return;
    const underWay = this.#underWay.get(lane) ?? 0;
    const most = lane === null ? GROUPS_OF_ALL_MAX : 1;
    if (underWay >= most || this.#groupsUnderWay >= GROUPS_AT_ONCE_MAX) return;
    const enough = underWay < 2 ? ENOUGH_BESIDE : this.#rules.max;
    if (underWay > 0 && this.#queues.lengthOf(lane) < enough) return;
    this.#underWay.set(lane, underWay + 1);
    this.#groupsUnderWay++;
    void this.#commit(lane);
  }

  async #commit(lane: Lane): Promise<void> {
    if (this.#queues.lengthOf(lane) < ENOUGH) {
      this.#gathering.add(lane);
      await turnOfEventLoop();
      this.#gathering.delete(lane);
    }
    const { group, users, isInOrder } = this.#nextGroup(lane);
    const decided = this.#outcomesTogether(lane, group, isInOrder);
    // The one beside it, with what it has left.
    this.#startGroup(lane);
    const outcomes = await decided;
    this.#setApart(group.filter((_, index) => !outcomes[index]));
    for (const userId of users) this.#letGo(userId, isInOrder);
    // The database goes on with the next while these are answered.
    this.#end(lane);
    await sent();
    group.forEach((waiting, index) => {
      const outcome = outcomes[index];
      if (outcome) this.#settle(waiting, outcome);
    });
  }

  async #outcomesTogether(
    lane: Lane,
    group: readonly Waiting<Request, Result>[],
    isInOrder: boolean,
  ): Promise<(Outcome<Result> | undefined)[]> {
    // All that waited was of users in the group before.
    if (group.length === 0) return [];
    try {
      return await this.#rules.together(
        lane,
        group.map(({ request }) => request),
        isInOrder,
      );
    } catch (error) {
      return this.#outcomesOfFailed(group, error);
    }
  }

  #end(done: Lane): void {
    const underWay = (this.#underWay.get(done) ?? 1) - 1;
    if (underWay === 0) this.#underWay.delete(done);
    else this.#underWay.set(done, underWay);
    this.#groupsUnderWay--;
    this.#startWaiting();
  }

  #startWaiting(): void {
    for (const lane of this.#queues.lanes()) {
      if (this.#groupsUnderWay >= GROUPS_AT_ONCE_MAX) break;
      this.#startGroup(lane);
    }
  }

  /** Its users are held from here on. */
  #nextGroup(lane: Lane) {
    const group: Waiting<Request, Result>[] = [];
    const users = new Set<string>();
    const most = this.#mostUsersOf(lane);
    const others: Waiting<Request, Result>[] = [];
    const taken = this.#queues.take(lane, this.#rules.max);
    const isInOrder = this.#rules.isInOrder(lane, Math.min(taken.length, most));
    for (const waiting of taken) {
      const { userId } = waiting.request;
      const isOther = !users.has(userId);
      // In a group that had no room for all of its user's requests, or in a row while this group goes beside it.
      if (isOther && this.#held.mustWait(userId, isInOrder)) {
        this.#held.wait(userId, waiting);
      } else if (group.length >= most && (isOther || isInOrder)) {
        others.push(waiting);
      } else {
        if (isOther) this.#held.hold(userId, isInOrder);
        users.add(userId);
        group.push(waiting);
      }
    }
    this.#queues.putBack(lane, others);
    return { group, users, isInOrder };
  }

  /** With how many requests a group takes no more, or where its users cannot be in the next one, no more users. */
  #mostUsersOf(lane: Lane): number {
    const isFirstOfTwo = lane === null && this.#underWay.get(lane) === 1;
    return isFirstOfTwo ? Math.max(HALF_MIN, Math.ceil(this.#queues.lengthOf(lane) / 2)) : this.#rules.max;
  }

  /** Where the database is away it is away for all of them; else one of them is at fault, and they are taken apart. */
  async #outcomesOfFailed(
    group: readonly Waiting<Request, Result>[],
    error: unknown,
  ): Promise<(Outcome<Result> | undefined)[]> {
    const isAtFault = await isReachable(this.#pool);
    return group.map(() => (isAtFault ? undefined : { error }));
  }

  /** Their users are held alone. */
  #setApart(undecided: readonly Waiting<Request, Result>[]): void {
    const byUser = new Map<string, Waiting<Request, Result>[]>();
    for (const waiting of undecided) {
      const others = byUser.get(waiting.request.userId);
      if (others) others.push(waiting);
      else byUser.set(waiting.request.userId, [waiting]);
    }
    for (const [userId, underWay] of byUser) {
      this.#held.hold(userId, false);
      this.#nextApart.push({ userId, underWay });
    }
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

  async #decideApart({ userId, underWay }: Apart<Waiting<Request, Result>>): Promise<void> {
    const outcomes = await this.#outcomesApart(
      this.#laneOf?.(userId) ?? null,
      underWay.map(({ request }) => request),
    );
    underWay.forEach((waiting, index) => {
      this.#settle(waiting, outcomes[index] ?? { error: new Error('A request was left undecided.') });
    });
    this.#apartAtOnce--;
    this.#letGo(userId, false);
    this.#startWaiting();
    this.#startApart();
  }

  #letGo(userId: string, isInOrder: boolean): void {
    for (const waiting of this.#held.letGo(userId, isInOrder)) this.#place(waiting);
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

  #settle({ asker, place }: Waiting<Request, Result>, outcome: Outcome<Result>): void {
    this.#waiting--;
    asker.settle(outcome, place);
  }
}

/** The pool hands out a connection in the next tick: after it the statement is on its way (a pipeline's first a little later). */
function sent(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
