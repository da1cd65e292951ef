/**
 * `npm run sim -- --seed N [--count N] [--real]`: histories of a Stripe customer, each told in order and in chaos; both
 * must end alike. One seed is told event by event. With --real by the sandbox, over HTTP, to services with databases.
 * Exit 1 if any of them does not.
 */
import { parseArgs } from 'node:util';
import { converge } from './converge.ts';
import { newHistory } from './history.ts';
import { convergeInParallel } from './pure.ts';
import { convergeReally } from './real/many.ts';
import { shrink, tell } from './replay.ts';
import type { Totals } from './share.ts';

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** @returns whether it ends alike */
function replay(seed: number): boolean {
  const { history } = newHistory(seed);
  const failed = converge(history).faults.length > 0;
  if (failed) say(`seed ${seed} fails; the shortest history that still does:`);
  tell(failed ? shrink(history) : history, say);
  return !failed;
}

async function many(seed: number, count: number): Promise<boolean> {
  const startedAt = performance.now();
  const totals = await convergeInParallel({ seed, count });
  const seconds = (performance.now() - startedAt) / 1000;
  say(summary(totals, seconds));
  const [first] = totals.failed;
  if (first === undefined) return true;
  say(`failed: ${totals.failed.slice(0, 20).join(', ')}`);
  replay(first);
  return false;
}

function summary({ histories, events, syncs, failed }: Totals, seconds: number): string {
  const rate = Math.round(histories / seconds);
  return `${histories} histories, ${events} events, ${syncs} syncs, ${failed.length} failed, in ${seconds.toFixed(1)} s (${rate}/s)`;
}

async function really(seed: number, count: number): Promise<boolean> {
  const startedAt = performance.now();
  const { users, events, failedAttempts, faults } = await convergeReally({ seed, count }, say);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
  say(
    `${users} real histories, ${events} events, ${failedAttempts} attempts failed and were repeated, in ${seconds} s`,
  );
  for (const fault of faults) say(fault);
  return faults.length === 0;
}

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '1' },
    real: { type: 'boolean', default: false },
  },
});
const [seed, count] = [Number(values.seed), Number(values.count)];
if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(count) || count < 1) {
  say('Usage: npm run sim -- [--seed N] [--count N] [--real]');
  process.exitCode = 2;
} else {
  const run = values.real ? really : many;
  const isAlike = count === 1 && !values.real ? replay(seed) : await run(seed, count);
  process.exitCode = isAlike ? 0 : 1;
}
