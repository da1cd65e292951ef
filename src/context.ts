import type { Logger } from 'pino';
import type Stripe from 'stripe';
import type { Config } from './config.ts';
import type { Catalogue } from './domain/plans.ts';
import type { Jobs } from './queue.ts';
import type { Database } from './store/database.ts';

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
