// Two sides, A B A B, so that what else the machine does meets both.
import type { Bed, Server } from './bed.ts';
import type { LoadJob, LoadResult } from './load.ts';

export interface Side {
  server: Server;
  job?: Partial<LoadJob>;
}

export interface Comparison {
  /** Median of the rounds' ratios a ÷ b; a and b are medians too. */
  ratio: number;
  a: number;
  b: number;
  /** CPU of the server's process per answer: next to no noise, whatever else the machine does. */
  cpuMicrosecondsA: number;
  cpuMicrosecondsB: number;
  /** All of them, the warm-up first: the oracle wants every unit. */
  loadsOfA: LoadResult[];
  loadsOfB: LoadResult[];
}

export const perSecond = ({ requests, seconds }: LoadResult): number => requests / seconds;

export async function compare(
  bed: Bed,
  a: Side,
  b: Side,
  measure: (result: LoadResult) => number = perSecond,
): Promise<Comparison> {
  // What is compiled, cached and connected in the first seconds is no part of any round. As fast as it goes: at 1,000 a
  // second V8 went on compiling for 20 s, in which the p99 of a consume fell from 8 ms to 3.
  const warmUp = { seconds: bed.scale.seconds, warmupSeconds: 0, rate: null };
  const loadsOfA = [await bed.load(a.server, { ...a.job, ...warmUp })];
  const loadsOfB = [await bed.load(b.server, { ...b.job, ...warmUp })];
  const cpuOfA: number[] = [];
  const cpuOfB: number[] = [];
  const turn = async ({ server, job }: Side, loads: LoadResult[], cpu: number[]): Promise<void> => {
    const before = await server.ask('cpuMicroseconds');
    const load = await bed.load(server, job);
    const after = await server.ask('cpuMicroseconds');
    loads.push(load);
    cpu.push((after - before) / load.answers);
  };
  for (let round = 0; round < bed.scale.rounds; round++) {
    await turn(a, loadsOfA, cpuOfA);
    await turn(b, loadsOfB, cpuOfB);
  }
  const [, ...measuredA] = loadsOfA.map(measure);
  const [, ...measuredB] = loadsOfB.map(measure);
  return {
    ratio: median(measuredA.map((value, round) => value / (measuredB[round] ?? Number.NaN))),
    a: median(measuredA),
    b: median(measuredB),
    cpuMicrosecondsA: median(cpuOfA),
    cpuMicrosecondsB: median(cpuOfB),
    loadsOfA,
    loadsOfB,
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((x, y) => x - y);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export function cpuNote({ cpuMicrosecondsA, cpuMicrosecondsB }: Comparison): string {
  return `${Math.round(cpuMicrosecondsA)} : ${Math.round(cpuMicrosecondsB)} µs of the server's CPU each`;
}
