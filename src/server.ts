/** Entry point of `npm run serve`: the API alone. Ends with 0 on SIGTERM or SIGINT, within 20 s. */
import { configOf, readCatalogue, readEnvironment, startFailure } from './config.ts';
import { openContext } from './context.ts';
import { serve } from './http/listen.ts';
import { requirePrices } from './stripe/prices.ts';

/** Requests get 10 s of it; what is left is for the queue and the database. */
const STOP_MS_MAX = 19_000;

async function main(): Promise<void> {
  const environment = readEnvironment();
  const config = configOf(environment);
  const context = await openContext({ config, catalogue: readCatalogue(environment) });
  const { log } = context;
  const listening = await requirePrices(context)
    .then(() => serve(context))
    .catch(async (error: unknown) => {
      await context.close();
      throw error;
    });
  log.info({ url: listening.url, opsPort: listening.opsPort }, 'listening');

  let isStopping = false;
  async function stop(signal: NodeJS.Signals): Promise<void> {
    if (isStopping) return;
    isStopping = true;
    log.info({ signal }, 'stopping');
    setTimeout(() => process.exit(1), STOP_MS_MAX).unref();
    await listening.stop();
    await context.close();
    process.exit(0);
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      stop(signal).catch((error: unknown) => {
        log.error({ err: error }, 'did not stop cleanly');
        process.exit(1);
      });
    });
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${startFailure(error)}\n`);
  process.exit(1);
});
