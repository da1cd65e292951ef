/** Many histories without I/O, over all cores: each process takes every n-th seed. */
import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { converge } from './converge.ts';
import { newHistory } from './history.ts';

/** The argument by which a process knows that it is one of many. */
const SHARE = 'share';

export interface Range {
  seed: number;
  count: number;
}

export interface Totals {
  histories: number;
  events: number;
  syncs: number;
  /** Seeds that did not end alike, in ascending order. */
  failed: number[];
}

interface Share extends Range {
  step: number;
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

export async function convergeInParallel({ seed, count }: Range): Promise<Totals> {
  const processes = Math.min(availableParallelism(), count);
  const shares = Array.from({ length: processes }, (_, index) => ({
    seed: seed + index,
    count: count - index,
    step: processes,
  }));
  const all = await Promise.all(shares.map(runInProcess));
  return {
    histories: all.reduce((sum, { histories }) => sum + histories, 0),
    events: all.reduce((sum, { events }) => sum + events, 0),
    syncs: all.reduce((sum, { syncs }) => sum + syncs, 0),
    failed: all.flatMap(({ failed }) => failed).sort((a, b) => a - b),
  };
}

/** A process and no thread: tsx does not reach threads on Node 20. */
function runInProcess({ seed, count, step }: Share): Promise<Totals> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), [SHARE, `${seed}`, `${count}`, `${step}`], {
      execArgv: ['--import', 'tsx'],
    });
    child.once('message', (totals) => resolve(totals as Totals));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`A process of the simulation ended with ${code}.`)));
  });
}

const [, , role, ...numbers] = process.argv;
if (role === SHARE) {
  const [seed = 0, count = 0, step = 1] = numbers.map(Number);
  process.send?.(convergeAll({ seed, count, step }));
}
