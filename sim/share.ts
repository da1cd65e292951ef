/** One process's share of many histories: every n-th seed. Run by pure.ts with seed, count and step. */
import { converge } from './converge.ts';
import { newHistory } from './history.ts';

export interface Share {
  seed: number;
  count: number;
  step: number;
}

export interface Totals {
  histories: number;
  events: number;
  syncs: number;
  /** Seeds that did not end alike, in ascending order. */
  failed: number[];
}

/** Seeds `seed`, `seed + step` … below `seed + count`. */
export function convergeAll({ seed, count, step }: Share): Totals {
  const totals: Totals = { histories: 0, events: 0, syncs: 0, failed: [] };
  for (let one = seed; one < seed + count; one += step) {
    const { history, played } = newHistory(one);
    const { events, syncs, faults } = converge(history, {}, played);
    totals.histories += 1;
    totals.events += events;
    totals.syncs += syncs;
    if (faults.length > 0) totals.failed.push(one);
  }
  return totals;
}

const [seed = 0, count = 0, step = 1] = process.argv.slice(2).map(Number);
process.send?.(convergeAll({ seed, count, step }));
