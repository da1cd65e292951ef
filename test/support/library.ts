// The use cases on a database of their own, without HTTP: for tests of the ledger itself.
import { pino } from 'pino';
import Stripe from 'stripe';
import { configOf } from '../../src/config.ts';
import type { Context } from '../../src/context.ts';
import { type Catalogue, DEFAULT_CATALOGUE } from '../../src/domain/plans.ts';
import type { WakeUp } from '../../src/queue.ts';
import { openDatabase } from '../../src/store/database.ts';
import { createDistributedDatabase, createTestDatabase } from './database.ts';

export interface Library {
  context: Context;
  /** What was asked of the workers, in order; there are none here. */
  woken: WakeUp[];
  /** Moves business time; it stands still otherwise. */
  setTime(iso: string): void;
  /** The same database under another clock and catalogue. */
  with(options: { now?: () => Date; catalogue?: Catalogue }): Context;
  close(): Promise<void>;
}

export const START = '2026-01-31T10:00:00.000Z';

/** Nothing listens there: a test that reaches for Stripe fails at once. */
const NO_STRIPE = { host: '127.0.0.1', port: 9, protocol: 'http', maxNetworkRetries: 0 } as const;

/** @param options.isDistributed on a database as prisma/citus.sql leaves it */
export async function openLibrary({ maxConnections = 10, isDistributed = false } = {}): Promise<Library> {
  const database = await (isDistributed ? createDistributedDatabase() : createTestDatabase());
  const { pool, db, close } = openDatabase(database.url, () => {}, { maxConnections });
  const woken: WakeUp[] = [];
  const config = configOf({
    DATABASE_URL: database.url,
    STRIPE_SECRET_KEY: 'sk_test_library',
    STRIPE_WEBHOOK_SECRET: ['whsec_library'],
    AUTH_JWT_SECRET: 'library-tests-have-a-secret-of-32-chars',
  });
  let now = new Date(START);
  const context: Context = {
    config,
    catalogue: DEFAULT_CATALOGUE,
    clock: { now: () => now },
    log: pino({ level: 'silent' }),
    stripe: new Stripe('sk_test_library', NO_STRIPE),
    jobs: { wake: (job) => woken.push(job), ping: async () => {}, close: async () => {} },
    pool,
    db,
  };
  return {
    context,
    woken,
    setTime: (iso) => {
      now = new Date(iso);
    },
    with: ({ now: clock, catalogue }) => ({
      ...context,
      ...(clock ? { clock: { now: clock } } : {}),
      ...(catalogue ? { catalogue } : {}),
    }),
    async close() {
      await close();
      await database.drop();
    },
  };
}
