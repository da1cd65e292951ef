import pg from 'pg';
import { type Logger, pino } from 'pino';
import type Stripe from 'stripe';
import { type Config, ConfigError } from './config.ts';
import type { Catalogue } from './domain/plans.ts';
import { gatheredLines } from './gathered-lines.ts';
import { type Jobs, openJobs } from './queue.ts';
import { type Database, openDatabase } from './store/database.ts';
import { openStripe } from './stripe/client.ts';

/** Business time. The sandbox's virtual clock under `npm start`, else the machine's. */
export interface Clock {
  now(): Date;
}

/** What every use case needs; built once by an entry point and passed first. */
export interface Context extends Pick<Database, 'pool' | 'db'> {
  config: Config;
  catalogue: Catalogue;
  clock: Clock;
  log: Logger;
  stripe: Stripe;
  jobs: Jobs;
}

export const systemClock: Clock = { now: () => new Date() };

/** What a log line never shows, wherever it stands. */
const REDACTED_PATHS = [
  'req.headers.authorization',
  'req.headers.cookie',
  'req.headers["stripe-signature"]',
  '*.email',
  '*.name',
  '*.secret',
  '*.secretKey',
  '*.apiKey',
];

export function createLog({ logLevel }: Pick<Config, 'logLevel'>): Logger {
  const options = { level: logLevel, redact: { paths: REDACTED_PATHS, censor: '[redacted]' } };
  return pino(options, gatheredLines());
}

export interface ContextOptions {
  config: Config;
  catalogue: Catalogue;
  clock?: Clock;
  log?: Logger;
}

/** @throws ConfigError where nothing answers there, so that a start ends with the line that mends it */
export async function requireDatabase(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 5_000 });
  try {
    await client.connect();
  } catch (error) {
    const { host } = new URL(databaseUrl);
    const fault = error instanceof AggregateError ? error.errors.map(String).join(', ') : String(error);
    throw new ConfigError(
      `DATABASE_URL: no PostgreSQL to use at ${host} (${fault}): start it or correct the URL`,
    );
  } finally {
    await client.end();
  }
}

/** Opens what a context needs. The database first, since a queue that meets a dead one stays dead. */
export async function openContext({
  config,
  catalogue,
  clock = systemClock,
  log = createLog(config),
}: ContextOptions): Promise<Context & { close(): Promise<void> }> {
  await requireDatabase(config.databaseUrl);
  const database = openDatabase(config.databaseUrl, (error) =>
    log.warn({ err: error }, 'A database connection broke'),
  );
  try {
    const jobs = await openJobs({ databaseUrl: config.databaseUrl, redisUrl: config.redisUrl, log });
    const { pool, db } = database;
    const close = async (): Promise<void> => {
      await jobs.close();
      await database.close();
    };
    return { config, catalogue, clock, log, stripe: openStripe(config), jobs, pool, db, close };
  } catch (error) {
    await database.close();
    throw error;
  }
}
