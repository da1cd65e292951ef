/**
 * The door through which holds, captures, releases, refunds, the seed's work, and consumes that a batch cannot decide
 * come to accounts: those that arrive together share a commit (lib/group-queue.ts, store/account-group.ts).
 */
import { DatabaseError } from 'pg';
import type { Context } from '../context.ts';
import type { Catalogue } from '../domain/plans.ts';
import { type AccountRequest, decideGroup } from '../store/account-group.ts';
import type { Pool } from '../store/database.ts';
import { GroupQueue } from './group-queue.ts';

/** Their accounts are locked for the time of the commit and of some ten statements before it. */
const GROUP_MAX = 100;
/** Of the pool's connections; the others stay free for groups, for batches and for the other routes. */
const APART_AT_ONCE_MAX = 4;
const LOCK_NOT_AVAILABLE = '55P03';

type Door = GroupQueue<AccountRequest<unknown>, unknown>;
type DoorContext = Pick<Context, 'pool' | 'catalogue'>;

function newDoor({ pool, catalogue }: DoorContext): Door {
  return new GroupQueue(pool, {
    max: GROUP_MAX,
    apartAtOnceMax: APART_AT_ONCE_MAX,
    isInOrder: () => false,
    together: (lane, requests) => decideGroup({ pool, catalogue, waits: false }, lane, requests),
    async apart(lane, requests) {
      try {
        const decisions = await decideGroup({ pool, catalogue, waits: true }, lane, requests);
        return decisions.map((decision) => decision ?? { error: new Error('A request was left undecided.') });
      } catch (error) {
        // One user's row: the second request would wait as long as the first, and the tenth ten times as long.
        const isLocked = error instanceof DatabaseError && error.code === LOCK_NOT_AVAILABLE;
        if (isLocked) return requests.map(() => ({ error }));
        throw error;
      }
    },
  });
}

const doors = new WeakMap<Pool, WeakMap<Catalogue, Door>>();

/** One per database connection pool; a process has one catalogue. */
function doorOf(context: DoorContext): Door {
  const ofPool = doors.get(context.pool) ?? new WeakMap<Catalogue, Door>();
  doors.set(context.pool, ofPool);
  const door = ofPool.get(context.catalogue) ?? newDoor(context);
  ofPool.set(context.catalogue, door);
  return door;
}

/** How many changes of this process have no answer yet; consumes that a batch cannot decide are among them. */
export function changesWaiting(context: DoorContext): number {
  return doorOf(context).waiting;
}

/**
 * Decides a change of an account, together with others that arrive at the same time.
 * @throws TollgateError what `decide` refuses with; `not_found` for an unknown user; `unavailable` where too many wait
 */
export async function decideAtDoor<Result>(
  context: DoorContext,
  request: AccountRequest<Result>,
): Promise<Result> {
  return (await doorOf(context).decide(request)) as Result;
}
