// The whole service on a database of its own and a free port, called over real HTTP. Stripe is a port where nobody
// listens: what needs it fails as it would without a network.
import { SignJWT } from 'jose';
import { type Logger, pino } from 'pino';
import { inject } from 'vitest';
import { type Config, configOf, readEnvironment } from '../../src/config.ts';
import type { Clock, Context } from '../../src/context.ts';
import { type Catalogue, DEFAULT_CATALOGUE } from '../../src/domain/plans.ts';
import { type Listening, serve } from '../../src/http/listen.ts';
import { type ApiKeyScope, createApiKey } from '../../src/lib/api-keys.ts';
import { signUp } from '../../src/lib/users.ts';
import type { Jobs, WakeUp } from '../../src/queue.ts';
import { openDatabase } from '../../src/store/database.ts';
import { openStripe } from '../../src/stripe/client.ts';
import { type Answer, type Call, call } from './calls.ts';
import { createTestDatabase } from './database.ts';

export const JWT_SECRET = 'test-jwt-secret-of-at-least-32-chars';
export const WEBHOOK_SECRET = 'whsec_test_webhook_secret_of_the_service';

/** Keeps what was asked for; runs nothing. */
export interface RecordingJobs extends Jobs {
  woken: WakeUp[];
  /** What `/readyz` meets; undefined = the queue answers. */
  failure: Error | undefined;
}

/** Business time, which stands still until it is set. */
export interface TestClock extends Clock {
  set(time: Date | string): void;
  advance(seconds: number): void;
}

export interface ServiceOptions {
  environment?: Record<string, string>;
  catalogue?: Catalogue;
  now?: string;
  /** Where log lines go; without it nothing is logged. */
  log?: Logger;
  /** Instead of a database of its own. */
  databaseUrl?: string;
  maxConnections?: number;
}

export interface TestService {
  context: Context;
  url: string;
  listening: Listening;
  clock: TestClock;
  jobs: RecordingJobs;
  databaseUrl: string;
  /** One key per scope, and one with consume, read and billing. */
  keys: Record<ApiKeyScope | 'backend', string>;
  /** Calls a path and checks that the answer is one that the route's OpenAPI entry promises. */
  call(method: string, path: string, options?: Call): Promise<Answer>;
  /** A JWT of an end user; `claims` replace ours. */
  token(userId: string, claims?: Record<string, unknown>): Promise<string>;
  /** Makes a user with its first credits. */
  user(userId?: string, plan?: string): Promise<string>;
  close(): Promise<void>;
}

export function testClock(start = '2026-03-10T12:00:00.000Z'): TestClock {
  let now = new Date(start);
  return {
    now: () => new Date(now),
    set: (time) => {
      now = new Date(time);
    },
    advance: (seconds) => {
      now = new Date(now.getTime() + seconds * 1000);
    },
  };
}

export function recordingJobs(): RecordingJobs {
  const jobs: RecordingJobs = {
    woken: [],
    failure: undefined,
    wake: (job) => void jobs.woken.push(job),
    ping: async () => {
      if (jobs.failure) throw jobs.failure;
    },
    close: async () => {},
  };
  return jobs;
}

/** A configuration as the environment would give it, without reading the environment. */
export function testConfig(databaseUrl: string, environment: Record<string, string> = {}): Config {
  return configOf(
    readEnvironment({
      DATABASE_URL: databaseUrl,
      STRIPE_SECRET_KEY: 'sk_test_unreachable',
      STRIPE_API_BASE: 'http://127.0.0.1:1',
      STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET,
      AUTH_JWT_SECRET: JWT_SECRET,
      PORT: '0',
      PUBLIC_URL: 'http://tollgate.test',
      ...environment,
    }),
  );
}

export async function signToken(
  claims: Record<string, unknown>,
  secret = JWT_SECRET,
  algorithm = 'HS256',
): Promise<string> {
  const inOneHour = Math.floor(Date.now() / 1000) + 3600;
  return new SignJWT({ exp: inOneHour, ...claims })
    .setProtectedHeader({ alg: algorithm })
    .sign(new TextEncoder().encode(secret));
}

async function testKeys(context: Context): Promise<TestService['keys']> {
  const make = async (...scopes: ApiKeyScope[]) =>
    (await createApiKey(context, { name: `test ${scopes.join()}`, scopes }, 'test')).key;
  return {
    consume: await make('consume'),
    read: await make('read'),
    billing: await make('billing'),
    admin: await make('admin'),
    backend: await make('consume', 'read', 'billing'),
  };
}

export async function startService(options: ServiceOptions = {}): Promise<TestService> {
  const own = options.databaseUrl === undefined ? await createTestDatabase() : undefined;
  const databaseUrl = options.databaseUrl ?? own?.url ?? inject('testServerUrl');
  const config = testConfig(databaseUrl, options.environment);
  const log = options.log ?? pino({ level: 'silent' });
  const { maxConnections = 10 } = options;
  const database = openDatabase(databaseUrl, () => {}, { maxConnections });
  const clock = testClock(options.now);
  const jobs = recordingJobs();
  const context: Context = {
    config,
    catalogue: options.catalogue ?? DEFAULT_CATALOGUE,
    clock,
    log,
    stripe: openStripe(config),
    jobs,
    pool: database.pool,
    db: database.db,
  };
  const keys = await testKeys(context);
  const listening = await serve(context, { port: 0, host: '127.0.0.1' });
  let users = 0;
  return {
    context,
    url: listening.url,
    listening,
    clock,
    jobs,
    databaseUrl,
    keys,
    call: (method, path, request) => call(listening.url, method, path, request),
    token: (userId, claims = {}) => signToken({ sub: userId, ...claims }),
    async user(userId = `user-${++users}`, plan = 'free') {
      await signUp(context, { userId, plan });
      return userId;
    },
    async close() {
      await listening.stop();
      await database.close();
      await own?.drop();
    },
  };
}
