import type { Bed } from './bed.ts';

/** One line of the report. */
export interface Row {
  name: string;
  /** What the goal is about: a ÷ b, or a figure by itself (then b is null). */
  ratio: number;
  a: number;
  b: number | null;
  /** More figures that explain the ratio. */
  note?: string;
  /** What the oracle finds wrong; empty = every unit is accounted for. */
  oracle: string[];
  /** Of `ratio`: at least, or with `isCeiling` at most. */
  goal: number;
  aim: number;
  isCeiling?: true;
  /** For figures with little noise: a run beyond this fails. */
  gate?: number;
}

export interface Benchmark {
  name: string;
  says: string;
  run(bed: Bed): Promise<Row[]>;
}
