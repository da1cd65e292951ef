import type { Deliverer } from './delivery.ts';
import { runJob } from './engine/lifecycle.ts';
import type { Job, JobKind } from './scheduler.ts';
import type { World } from './world.ts';

/** Runs what is due: by itself as wall time flows, or at once when somebody moves the clock. */
export class Timeline {
  readonly #world: World;
  readonly #deliverer: Deliverer;
  readonly #onError: (error: unknown) => void;
  #lastMove: Promise<void> = Promise.resolve();
  #epoch = 0;

  constructor(world: World, deliverer: Deliverer, onError: (error: unknown) => void) {
    this.#world = world;
    this.#deliverer = deliverer;
    this.#onError = onError;
  }

  /** Everything due by now, each at its own instant; nothing while time is being moved by hand. */
  catchUp(): void {
    const { clock, scheduler } = this.#world;
    if (clock.held) return;
    const now = clock.nowMs();
    for (let job = scheduler.takeDue(now); job !== undefined; job = scheduler.takeDue(now)) this.#runAt(job);
  }

  #runAt({ atMs, kind, id }: Job): void {
    this.#world.clock.at(atMs, () => this.#run(kind, id));
  }

  /** One move at a time; each instant's events are delivered (or given up) before the next instant comes. */
  advanceTo(targetMs: number): Promise<void> {
    const move = this.#lastMove.then(() => this.#advance(targetMs));
    this.#lastMove = move.catch(() => undefined);
    return move;
  }

  /** A reset in the middle of a move ends the move. */
  interrupt(): void {
    this.#epoch += 1;
  }

  async #advance(targetMs: number): Promise<void> {
    const { clock, scheduler } = this.#world;
    const epoch = this.#epoch;
    clock.hold(clock.nowMs());
    try {
      await this.#deliverer.idle();
      for (let at = scheduler.nextAtMs(); at !== undefined && at <= targetMs; at = scheduler.nextAtMs()) {
        if (epoch !== this.#epoch) return;
        clock.hold(at);
        const instant = clock.nowMs();
        for (let job = scheduler.takeDue(instant); job !== undefined; job = scheduler.takeDue(instant))
          this.#run(job.kind, job.id);
        await this.#deliverer.idle();
      }
      if (epoch === this.#epoch) clock.hold(targetMs);
    } finally {
      if (epoch === this.#epoch) clock.release();
    }
  }

  #run(kind: JobKind, id: string): void {
    try {
      if (kind === 'webhook_retries') this.#deliverer.retry(id);
      else runJob(this.#world, kind, id);
    } catch (error) {
      // One broken object must not stop time for all others.
      this.#onError(error);
    }
  }
}
