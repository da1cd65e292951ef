import type { Deliverer } from './delivery.ts';
import { runJob } from './engine/lifecycle.ts';
import { deleteTestClock, finishAdvance } from './resources/test-clocks.ts';
import type { Job } from './scheduler.ts';
import type { World } from './world.ts';

/** Runs what is due: by itself as wall time flows, or at once when somebody moves the clock. */
export class Timeline {
  readonly #world: World;
  readonly #deliverer: Deliverer;
  readonly #onError: (error: unknown) => void;
  readonly #clockMoves = new Set<Promise<void>>();
  #lastMove: Promise<void> = Promise.resolve();
  #epoch = 0;
  /** Instants at which time has stood still, and jobs run there. */
  steps = 0;

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
    for (let job = scheduler.takeDue(now); job !== undefined; job = scheduler.takeDue(now)) {
      const due = job;
      clock.at(due.atMs, () => this.#run(due));
    }
  }

  /** One move at a time; each instant's events are delivered (or given up) before the next instant comes. */
  advanceTo(targetMs: number): Promise<void> {
    const move = this.#lastMove.then(() => this.#advance(targetMs));
    this.#lastMove = move.catch(() => undefined);
    return move;
  }

  /** Moves a test clock once the present request is answered; global time and other clocks go on meanwhile. */
  startTestClock(id: string, target: number): void {
    const move = new Promise<void>((resolve) => setImmediate(resolve))
      .then(() => this.#advanceTestClock(id, target))
      .catch((error: unknown) => this.#onError(error))
      .finally(() => this.#clockMoves.delete(move));
    this.#clockMoves.add(move);
  }

  /** Resolves when no test clock moves and nothing is being delivered. */
  async quiet(): Promise<void> {
    while (this.#clockMoves.size > 0) await Promise.all(this.#clockMoves);
    await this.#answered();
  }

  /** A reset or a stop in the middle of a move ends the move. */
  interrupt(): void {
    this.#epoch += 1;
  }

  /** Delivered, and dealt with: what the receiver does about an instant belongs to that instant. */
  async #answered(): Promise<void> {
    await this.#deliverer.idle();
    await this.#world.receiverIdle();
    await this.#deliverer.idle();
  }

  async #advance(targetMs: number): Promise<void> {
    const { clock, scheduler } = this.#world;
    const epoch = this.#epoch;
    clock.hold(clock.nowMs());
    try {
      await this.#answered();
      for (let at = scheduler.nextAtMs(); at !== undefined && at <= targetMs; at = scheduler.nextAtMs()) {
        if (epoch !== this.#epoch) return;
        clock.hold(at);
        this.#runDue(clock.nowMs(), null);
        await this.#answered();
      }
      if (epoch === this.#epoch) clock.hold(targetMs);
    } finally {
      if (epoch === this.#epoch) clock.release();
    }
    this.#world.touched();
  }

  async #advanceTestClock(id: string, target: number): Promise<void> {
    const { scheduler } = this.#world;
    const epoch = this.#epoch;
    const gone = (): boolean => epoch !== this.#epoch || !this.#world.state.testClocks.has(id);
    await this.#answered();
    while (!gone()) {
      const at = scheduler.nextAtMs(id);
      if (at === undefined || at > target * 1000) {
        finishAdvance(this.#world, id, target);
        await this.#answered();
        return;
      }
      const { clockInstants } = this.#world.state;
      const instant = Math.max(Math.floor(at / 1000), clockInstants.get(id) ?? 0);
      clockInstants.set(id, instant);
      this.#runDue(instant * 1000, id);
      await this.#answered();
    }
  }

  #runDue(instantMs: number, clock: string | null): void {
    const { scheduler } = this.#world;
    for (
      let job = scheduler.takeDue(instantMs, clock);
      job !== undefined;
      job = scheduler.takeDue(instantMs, clock)
    )
      this.#run(job);
  }

  #run({ kind, id, clock }: Job): void {
    this.steps += 1;
    try {
      this.#world.within(clock, () => {
        if (kind === 'webhook_retries') this.#deliverer.retry(id);
        else if (kind === 'test_clock_expires') deleteTestClock(this.#world, id);
        else runJob(this.#world, kind, id);
      });
    } catch (error) {
      // One broken object must not stop time for all others.
      this.#onError(error);
    }
    this.#world.touched();
  }
}
