/**
 * Virtual time: wall time plus an offset. While time is being advanced it stands still at each instant
 * where something is due, so that everything caused there carries that instant.
 */
export class Clock {
  readonly wallClock: () => number;
  #offsetMs = 0;
  #heldAtMs: number | null = null;

  constructor(wallClock: () => number) {
    this.wallClock = wallClock;
  }

  nowMs(): number {
    return this.#heldAtMs ?? this.wallClock() + this.#offsetMs;
  }

  now(): number {
    return Math.floor(this.nowMs() / 1000);
  }

  get held(): boolean {
    return this.#heldAtMs !== null;
  }

  /** Time never runs backwards: an instant already passed holds at the present one. */
  hold(atMs: number): void {
    this.#heldAtMs = Math.max(atMs, this.nowMs());
  }

  /** Runs something at the instant at which it was due, a little before now. */
  at(atMs: number, run: () => void): void {
    const held = this.#heldAtMs;
    this.#heldAtMs = atMs;
    try {
      run();
    } finally {
      this.#heldAtMs = held;
    }
  }

  release(): void {
    if (this.#heldAtMs !== null) this.#offsetMs = this.#heldAtMs - this.wallClock();
    this.#heldAtMs = null;
  }

  get offsetMs(): number {
    return this.nowMs() - this.wallClock();
  }

  /** Goes on with an offset; from `notBeforeMs` if the wall clock has been set back since. */
  restore(offsetMs: number, notBeforeMs: number): void {
    this.#heldAtMs = null;
    this.#offsetMs = Math.max(offsetMs, notBeforeMs - this.wallClock());
  }

  reset(): void {
    this.#offsetMs = 0;
    this.#heldAtMs = null;
  }
}
