/**
 * The jobs that exist, what they carry, and the door through which a use case asks for one. Rows are the truth: a job
 * is a wake-up that may be lost, late or doubled, so there is no deduplication by job id (a failed job of the same id
 * would swallow the next one without a word).
 */
import {
  createPostgresBackend,
  createRedisBackend,
  type JobsOptions,
  type PgPool,
  withBackend,
} from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import type { Logger } from 'pino';
import { z } from 'zod';

/** Work on one thing, asked for by the code that made the thing. The row is the truth; the job is a wake-up. */
export interface Jobs {
  /** Returns at once: a queue that is down must not hold a request, and the sweep finds what was lost. */
  wake(job: WakeUp): void;
  /** Rejects where the queue does not answer; for /readyz. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

export type WakeUp =
  | { name: 'handle-stripe-event'; eventId: string }
  | { name: 'run-workflow'; workflowId: string }
  | { name: 'run-reconciliation'; runId: string };

/** A queue of its own per kind, so that a slow workflow holds up no payment. */
export const QUEUES = {
  'handle-stripe-event': 'stripe-events',
  'run-workflow': 'workflows',
  'run-reconciliation': 'reconciliations',
} as const satisfies Record<WakeUp['name'], string>;
export const SCHEDULE_QUEUE = 'schedule';
export type QueueName = (typeof QUEUES)[WakeUp['name']] | typeof SCHEDULE_QUEUE;

const id = z.string().min(1).max(255);
/** What a job of each name carries: ids only. */
export const payloadSchemas = {
  'handle-stripe-event': z.strictObject({ eventId: id }),
  'run-workflow': z.strictObject({ workflowId: id }),
  'run-reconciliation': z.strictObject({ runId: id }),
} as const;

/** An event's row knows its next attempt and the sweep brings it; a workflow has nothing but its job. */
const RETRIES: Record<WakeUp['name'], JobsOptions> = {
  'handle-stripe-event': { attempts: 3, backoff: { type: 'exponential', delay: 1000, jitter: 0.5 } },
  'run-workflow': { attempts: 5, backoff: { type: 'exponential', delay: 1000, jitter: 0.5 } },
  // It says itself that it failed, and the next night comes.
  'run-reconciliation': { attempts: 1 },
};
const KEPT: JobsOptions = { removeOnComplete: { count: 1000 }, removeOnFail: { count: 5000 } };

/**
 * Measured (research/reliability.md C1): a killed worker's job is taken over after at most lock + 2 × stall check, and
 * a second crash of it must not fail it for good. BullMQ's defaults take a minute, and fail it.
 */
export const WORKER_OPTIONS = {
  lockDuration: 15_000,
  stalledInterval: 5_000,
  maxStalledCount: 5,
  runRetryDelay: 500,
} as const;

export interface QueueOptions {
  databaseUrl: string;
  /** Redis (or Valkey) instead of PostgreSQL. */
  redisUrl?: string | undefined;
  log: Logger;
}

/** Connections to the store of the jobs, for one process. */
export interface QueueStore {
  openQueue(name: QueueName): JobQueue;
  openWorker(name: QueueName, work: Work, options: { concurrency: number }): JobWorker;
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** What we use of BullMQ's queue, on either backend. */
export interface JobQueue {
  add(name: string, data: unknown, options?: JobsOptions): Promise<unknown>;
  upsertJobScheduler(
    id: string,
    repeat: { every: number },
    template: { name: string; data: unknown; opts: object },
  ): Promise<unknown>;
  getJobSchedulers(): Promise<{ key: string; every?: number | undefined }[]>;
  removeJobScheduler(id: string): Promise<boolean>;
  on(event: 'error', listener: (error: Error) => void): unknown;
  close(): Promise<void>;
}

export interface JobRun {
  name: string;
  data: unknown;
  /** Whether no attempt is left after this one. */
  isLast: boolean;
}
export type Work = (job: JobRun) => Promise<void>;

export interface JobWorker {
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'failed', listener: (job: unknown, error: Error) => void): unknown;
  close(force?: boolean): Promise<void>;
}

/**
 * Connects to PostgreSQL, or to Redis where a URL is given. The store has answered when this returns: a BullMQ object
 * that is made while its store is down stays dead after the store is back.
 * @param workers how many workers will be opened; each keeps a PostgreSQL connection for LISTEN
 */
export async function openQueueStore(options: QueueOptions, workers = 0): Promise<QueueStore> {
  return options.redisUrl === undefined
    ? openPostgresStore(options, workers)
    : openRedisStore({ ...options, redisUrl: options.redisUrl });
}

type BullJob = { name: string; data: unknown; attemptsMade: number; opts: { attempts?: number } };
const runOf = ({ name, data, attemptsMade, opts }: BullJob): JobRun => ({
  name,
  data,
  isLast: attemptsMade + 1 >= (opts.attempts ?? 1),
});

async function openPostgresStore({ databaseUrl, log }: QueueOptions, workers: number): Promise<QueueStore> {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: workers + 4,
    // BullMQ's functions name their tables without a schema; our own pool never sees them.
    options: '-c search_path=bullmq',
    connectionTimeoutMillis: 5_000,
    // Without it BullMQ wakes every 10 s to see whether the connection still lives.
    keepAlive: true,
  });
  // Each queue and worker adds a listener and keeps it.
  pool.setMaxListeners(0);
  pool.on('error', (error) => log.warn({ err: error }, 'A connection of the queue broke'));
  const ping = async (): Promise<void> => {
    await pool.query('select 1');
  };
  try {
    await ping();
  } catch (error) {
    await pool.end();
    throw error;
  }
  // BullMQ's own picture of pg leaves out the overloads of `on`, so that TypeScript sees two types in one.
  const connection = pool as unknown as PgPool;
  const { Queue, Worker } = withBackend(createPostgresBackend);
  return {
    openQueue: (name) => new Queue(name, { connection, defaultJobOptions: KEPT }),
    openWorker: (name, work, { concurrency }) =>
      new Worker(name, (job) => work(runOf(job)), { connection, concurrency, ...WORKER_OPTIONS }),
    ping,
    close: () => pool.end(),
  };
}

async function openRedisStore({ redisUrl, log }: QueueOptions & { redisUrl: string }): Promise<QueueStore> {
  // null: a worker's blocking read must outlive an outage.
  const redis = new Redis(redisUrl, { maxRetriesPerRequest: null, lazyConnect: true });
  redis.on('error', (error: Error) => log.warn({ err: error }, 'The connection to Redis broke'));
  try {
    await redis.connect();
    await refuseEviction(redis, log);
  } catch (error) {
    redis.disconnect();
    throw error;
  }
  const { Queue, Worker } = withBackend(createRedisBackend);
  return {
    openQueue: (name) => new Queue(name, { connection: redis, prefix: 'tollgate', defaultJobOptions: KEPT }),
    openWorker: (name, work, { concurrency }) =>
      new Worker(name, (job) => work(runOf(job)), {
        connection: redis,
        prefix: 'tollgate',
        concurrency,
        ...WORKER_OPTIONS,
      }),
    ping: async () => {
      await redis.ping();
    },
    close: async () => redis.disconnect(),
  };
}

/** Any other policy lets Redis forget jobs when memory is short; BullMQ only warns on the console. */
async function refuseEviction(redis: Redis, log: Logger): Promise<void> {
  let policy: string | undefined;
  try {
    policy = ((await redis.config('GET', 'maxmemory-policy')) as string[])[1];
  } catch (error) {
    // Hosted Redis often refuses CONFIG; nothing can be told then.
    log.warn({ err: error }, 'Redis does not tell its maxmemory-policy: make sure that it is noeviction');
    return;
  }
  if (policy === 'noeviction') return;
  throw new Error(
    `Redis would drop jobs: its maxmemory-policy is ${policy}. Run "redis-cli config set maxmemory-policy noeviction".`,
  );
}

const PING_MS = 2_000;
const CLOSE_MS = 5_000;

/** The producer's side. */
export async function openJobs(options: QueueOptions): Promise<Jobs> {
  const store = await openQueueStore(options);
  const queues = new Map<string, JobQueue>();
  const underWay = new Set<Promise<unknown>>();
  const warn = (error: unknown, job?: WakeUp): void =>
    options.log.warn({ err: error, job }, 'A job could not be queued; the sweep will find its row');
  for (const name of Object.values(QUEUES)) {
    const queue = store.openQueue(name);
    queue.on('error', (error) => warn(error));
    queues.set(name, queue);
  }
  return {
    wake(job) {
      const { name, ...data } = job;
      const adding = queues
        .get(QUEUES[name])
        ?.add(name, data, RETRIES[name])
        .catch((error: unknown) => warn(error, job))
        .finally(() => underWay.delete(adding ?? Promise.resolve()));
      if (adding) underWay.add(adding);
    },
    ping: () => within(store.ping(), PING_MS, 'The queue does not answer'),
    async close() {
      const last = Promise.all(underWay).then(() =>
        Promise.all([...queues.values()].map((queue) => queue.close())),
      );
      // Redis waits for ever for a server that is gone.
      await within(last, CLOSE_MS, 'The queue did not close').catch(warn);
      await store.close();
    },
  };
}

/** @throws Error with `message` after `ms` */
export async function within<T>(work: Promise<T>, ms: number, message: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${message} within ${ms} ms.`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
