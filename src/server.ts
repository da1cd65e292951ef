/** Entry point of `npm run serve`: the API alone. Ends with 0 on SIGTERM or SIGINT, within 20 s. */
import { ConfigError, configOf, readCatalogue, readEnvironment } from './config.ts';
import { openContext } from './context.ts';
import { serve } from './http/listen.ts';

/** Requests get 10 s of it; what is left is for the queue and the database. */
const STOP_MS_MAX = 19_000;

async function main(): Promise<void> {
  const environment = readEnvironment();
  const config = configOf(environment);
  const context = await openContext({ config, catalogue: readCatalogue(environment) });
  const { log } = context;
  const listening = await serve(context).catch(async (error: unknown) => {
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

/** What a start that failed leaves on stderr: for a setting, the lines that say what to set; else the error. */
function reasonOf(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  if (error instanceof AggregateError) return error.errors.map(String).join('\n');
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

main().catch((error: unknown) => {
  process.stderr.write(`${reasonOf(error)}\n`);
  process.exit(1);
});
