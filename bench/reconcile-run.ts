// One reconciliation in a process of its own, so that its memory is its own: prints what it found and its peak.
import { pino } from 'pino';
import { configOf, readCatalogue, readEnvironment } from '../src/config.ts';
import { openContext } from '../src/context.ts';
import { reconcileNow } from '../src/finance/runs.ts';
import { PERIOD } from './fake-stripe.ts';

const environment = readEnvironment();
const context = await openContext({
  config: configOf(environment),
  catalogue: readCatalogue(environment),
  clock: { now: () => new Date((PERIOD.start + 86_400) * 1000) },
  log: pino({ level: 'silent' }),
});
const before = process.resourceUsage().maxRSS;
const started = performance.now();
const { run, differences } = await reconcileNow(context, {}, null);
const seconds = (performance.now() - started) / 1000;
const peakMegabytes = process.resourceUsage().maxRSS / 1024;
await context.close();
process.stdout.write(
  JSON.stringify({
    seconds,
    peakMegabytes,
    startMegabytes: before / 1024,
    counts: run.counts,
    found: differences.map(({ kind, userId }) => `${kind} ${userId}`),
  }),
);
