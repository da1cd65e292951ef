import type { Lane } from '../store/lanes.ts';

/** What waits in each lane; lanes in the order in which they began to wait. */
export class LaneQueues<Waiting> {
  readonly #queues = new Map<Lane, Waiting[]>();

  lanes(): Iterable<Lane> {
    return this.#queues.keys();
  }

  lengthOf(lane: Lane): number {
    return this.#queues.get(lane)?.length ?? 0;
  }

  push(lane: Lane, waiting: Waiting): void {
    const queue = this.#queues.get(lane);
    if (queue) queue.push(waiting);
    else this.#queues.set(lane, [waiting]);
  }

  /** The first ones; what is left of the lane goes to the end of the line. */
  take(lane: Lane, most: number): Waiting[] {
    const queue = this.#queues.get(lane) ?? [];
    const taken = queue.splice(0, most);
    this.#queues.delete(lane);
    if (queue.length > 0) this.#queues.set(lane, queue);
    return taken;
  }

  /** What was taken and is not wanted yet: it is the first again. */
  putBack(lane: Lane, waiting: readonly Waiting[]): void {
    if (waiting.length > 0) this.#queues.set(lane, [...waiting, ...(this.#queues.get(lane) ?? [])]);
  }
}
