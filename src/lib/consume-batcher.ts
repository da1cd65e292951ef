/**
 * Consumes that share a commit (lib/group-queue.ts). What a batch cannot decide (store/consume-batch.ts) goes through
 * the door of all other changes (lib/account-door.ts), where it shares a commit as well.
 */
import {
  type BatchConnection,
  type BatchedConsume,
  consumeBatch,
  type Decision,
} from '../store/consume-batch.ts';
import type { Pool } from '../store/database.ts';
import { FlushTime } from '../store/flush-time.ts';
import type { Lane } from '../store/lanes.ts';
import { Pipeline } from '../store/pipeline.ts';
import { GroupQueue } from './group-queue.ts';
import type { Outcome } from './outcomes.ts';

/** With 500 requests of many items had 0.97 times the items a second: nothing was left for the batch beside it. */
const BATCH_MAX = 200;

export interface PendingConsume extends BatchedConsume {
  /** Where a batch cannot decide. @throws TollgateError */
  decideOtherwise(): Promise<Decision>;
}

/** Where a flush takes longer, the next batch is worth deciding meanwhile (docs/decisions/0016). */
const SHORT_FLUSH_MS = 0.5;

export class ConsumeBatcher {
  readonly #queue: GroupQueue<PendingConsume, Decision>;

  constructor(pool: Pool) {
    const pipeline = new Pipeline(pool);
    const flush = new FlushTime(pool);
    this.#queue = new GroupQueue(pool, {
      max: BATCH_MAX,
      isInOrder(lane, count) {
        const isSmall = lane === null && count < BATCH_MAX;
        return isSmall && (flush.ms ?? Number.POSITIVE_INFINITY) < SHORT_FLUSH_MS;
      },
      together(lane, consumes, isInOrder) {
        return decideTogether(isInOrder ? pipeline : pool, lane, consumes);
      },
      apart: (_lane, consumes) => Promise.all(consumes.map(decideOtherwise)),
      // The door has a limit of its own.
      apartAtOnceMax: Number.POSITIVE_INFINITY,
    });
  }

  get waiting(): number {
    return this.#queue.waiting;
  }

  /** @throws TollgateError what `decideOtherwise` throws; `unavailable` where too many are waiting */
  decide(consume: PendingConsume): Promise<Decision> {
    return this.#queue.decide(consume);
  }

  /** Each by itself: what `decide` would throw is its error. */
  decideEach(consumes: readonly PendingConsume[]): Promise<Outcome<Decision>[]> {
    return this.#queue.decideEach(consumes);
  }
}

function decideOtherwise(consume: PendingConsume): Promise<Outcome<Decision>> {
  return consume.decideOtherwise().then(
    (result) => ({ result }),
    (error: unknown) => ({ error }),
  );
}

/** A user and key goes out once; a repeat of the same request gets the same answer. */
async function decideTogether(
  db: BatchConnection,
  lane: Lane,
  consumes: readonly PendingConsume[],
): Promise<(Outcome<Decision> | undefined)[]> {
  const placesById = new Map<string, number>();
  const batch: BatchedConsume[] = [];
  const places = consumes.map((consume) => {
    const id = `${consume.userId} ${consume.key}`;
    const earlier = placesById.get(id);
    if (earlier !== undefined) return earlier;
    placesById.set(id, batch.length);
    return batch.push(consume) - 1;
  });
  const decisions = await consumeBatch(db, lane, batch);
  return consumes.map((consume, index) => {
    const place = places[index] ?? 0;
    const decision = decisions[place];
    const first = batch[place];
    if (!decision || first === consume) return decision && { result: decision };
    // Another request under that key finds out by itself.
    if (!first?.requestHash.equals(consume.requestHash)) return undefined;
    return { result: decision.outcome === 'taken' ? { ...decision, outcome: 'replayed' } : decision };
  });
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
