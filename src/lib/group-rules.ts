/** What a group queue (group-queue.ts) leaves to those who ask: how their requests are decided, and how many at once. */
import type { Lane } from '../store/lanes.ts';
import type { Outcome } from './outcomes.ts';

export interface GroupRules<Request, Result> {
  /** Requests of one group. */
  max: number;
  /** Whether a group of so many is decided after those of its lane that are under way: a user may then be in several. */
  isInOrder(lane: Lane, count: number): boolean;
  /**
   * One commit for all, or an error and none.
   * @param requests of users of this lane
   * @param isInOrder what the rule above said of them
   * @returns one outcome per request; undefined where it has to be decided apart
   */
  together(
    lane: Lane,
    requests: readonly Request[],
    isInOrder: boolean,
  ): Promise<(Outcome<Result> | undefined)[]>;
  /**
   * What the group left undecided of one user, or all that it had of the user where it failed. Where this fails as well
   * it is asked again for each request alone.
   */
  apart(lane: Lane, requests: readonly Request[]): Promise<Outcome<Result>[]>;
  /** Users whose requests are decided apart at once. */
  apartAtOnceMax: number;
}
