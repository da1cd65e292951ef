/** Many histories without I/O, over all cores: each process takes every n-th seed. */
import { fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Share, Totals } from './share.ts';

export interface Range {
  seed: number;
  count: number;
}

export async function convergeInParallel({ seed, count }: Range): Promise<Totals> {
  const processes = Math.min(availableParallelism(), count);
  const shares = Array.from({ length: processes }, (_, index) => ({
    seed: seed + index,
    count: count - index,
    step: processes,
  }));
  const all = await withCompiled((file) => Promise.all(shares.map((share) => runInProcess(file, share))));
  return {
    histories: all.reduce((sum, { histories }) => sum + histories, 0),
    events: all.reduce((sum, { events }) => sum + events, 0),
    syncs: all.reduce((sum, { syncs }) => sum + syncs, 0),
    failed: all.flatMap(({ failed }) => failed).sort((a, b) => a - b),
  };
}

/**
 * Compiled once, into one file. tsx compiles as well, but gives each function its name again whenever one is made
 * (esbuild's `keepNames`), which took a quarter of the time.
 */
async function withCompiled<T>(work: (file: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'tollgate-sim-'));
  try {
    const file = join(folder, 'share.mjs');
    await build({
      entryPoints: [fileURLToPath(new URL('./share.ts', import.meta.url))],
      outfile: file,
      bundle: true,
      platform: 'node',
      format: 'esm',
      logLevel: 'error',
    });
    return await work(file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A process and no thread: one that runs out of memory or hangs is seen for what it is. */
function runInProcess(file: string, { seed, count, step }: Share): Promise<Totals> {
  return new Promise((resolve, reject) => {
    const child = fork(file, [`${seed}`, `${count}`, `${step}`], { execArgv: [] });
    child.once('message', (totals) => resolve(totals as Totals));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`A process of the simulation ended with ${code}.`)));
  });
}
