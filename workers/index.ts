/** The worker process (`npm run worker`), and the workers beside the API under `npm start`. */
import { fileURLToPath } from 'node:url';
import { configOf, readCatalogue, readEnvironment, startFailure } from '../src/config.ts';
import { type Context, openContext } from '../src/context.ts';
import { openQueueStore, QUEUES, type QueueName, SCHEDULE_QUEUE, within } from '../src/queue.ts';
import { runJob } from './jobs.ts';
import { applySchedule } from './schedule.ts';

export interface Workers {
  /** Takes no new job, waits for the running ones up to 15 s. */
  stop(): Promise<void>;
}

/** Of the 20 s that a process has to end; a job that is cut off runs again. */
const STOP_MS = 15_000;

/** Each job is one short transaction or one call out: a few at a time fill the two, not the database's connections. */
const CONCURRENCY: Record<QueueName, number> = {
  [QUEUES['handle-stripe-event']]: 4,
  [QUEUES['run-workflow']]: 4,
  [QUEUES['run-reconciliation']]: 1,
  // A check of all ledgers may take minutes, a rotation of a large one as well, and what runs every minute goes past both.
  [SCHEDULE_QUEUE]: 3,
};

/** Opens the workers and makes the schedule what schedule.ts says. */
export async function startWorkers(context: Context): Promise<Workers> {
  const { config, log } = context;
  const names = Object.keys(CONCURRENCY) as QueueName[];
  const store = await openQueueStore(
    { databaseUrl: config.databaseUrl, redisUrl: config.redisUrl, log },
    names.length,
  );
  const schedule = store.openQueue(SCHEDULE_QUEUE);
  schedule.on('error', (error) => log.warn({ err: error }, 'The schedule queue failed'));
  const workers = names.map((name) => {
    const worker = store.openWorker(name, (job) => runJob(context, job), { concurrency: CONCURRENCY[name] });
    worker.on('error', (error) => log.warn({ err: error, queue: name }, 'A worker failed; it goes on'));
    worker.on('failed', (_job, error) => log.warn({ err: error, queue: name }, 'A job failed'));
    return worker;
  });
  const closeAll = (force: boolean): Promise<unknown> =>
    Promise.all(workers.map((worker) => worker.close(force)));
  const stop = async (): Promise<void> => {
    try {
      await within(closeAll(false), STOP_MS, 'The running jobs did not end');
    } catch (error) {
      // What is cut off here is taken over by another worker when its lock runs out.
      log.warn({ err: error }, 'Workers are stopped by force');
      await within(closeAll(true), STOP_MS / 10, 'The workers did not close').catch(() => undefined);
    }
    await schedule.close();
    await store.close();
  };
  try {
    await applySchedule(context, schedule);
  } catch (error) {
    await stop();
    throw error;
  }
  return { stop };
}

async function main(): Promise<void> {
  const environment = readEnvironment();
  const context = await openContext({
    config: configOf(environment),
    catalogue: readCatalogue(environment),
  });
  const workers = await startWorkers(context);
  context.log.info('The workers run');
  let isStopping = false;
  const stop = async (): Promise<void> => {
    if (isStopping) return;
    isStopping = true;
    try {
      await workers.stop();
      await context.close();
      process.exit(0);
    } catch (error) {
      context.log.error({ err: error }, 'The workers did not stop cleanly');
      process.exit(1);
    }
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error: unknown) => {
    process.stderr.write(`${startFailure(error)}\n`);
    process.exit(1);
  });
}
