import { mulberry32, type Random } from '../random.ts';

export interface FaultSettings {
  seed: number;
  latencyMs: number;
  errorRate: number;
  resetAfterCommitRate: number;
}

const NO_FAULTS: FaultSettings = { seed: 1, latencyMs: 0, errorRate: 0, resetAfterCommitRate: 0 };

/** How badly the API itself behaves: late, failing, or silent after it has done the work. */
export class Faults {
  #settings: FaultSettings = NO_FAULTS;
  #random: Random = mulberry32(NO_FAULTS.seed);

  get settings(): FaultSettings {
    return this.#settings;
  }

  configure(changes: Partial<FaultSettings>): void {
    this.#settings = { ...this.#settings, ...changes };
    if (changes.seed !== undefined) this.#random = mulberry32(changes.seed);
  }

  reset(): void {
    this.#settings = NO_FAULTS;
    this.#random = mulberry32(NO_FAULTS.seed);
  }

  /** Decided when a request arrives, in order of arrival, so that a seed repeats a run. */
  draw(): { latencyMs: number; fails: boolean; resets: boolean } {
    const fails = this.#random() < this.#settings.errorRate;
    const resets = this.#random() < this.#settings.resetAfterCommitRate;
    return { latencyMs: this.#settings.latencyMs, fails, resets };
  }
}
