/** Everything on one machine: a real PostgreSQL from npm, the Stripe sandbox, the API and the workers in one process. */
import { createServer } from 'node:net';
import pg from 'pg';
import type { Logger } from 'pino';
import { startWorkers } from '../workers/index.ts';
import { type Config, ConfigError, configOf, type Environment, readCatalogue } from './config.ts';
import { type Context, createLog, openContext, requireDatabase, systemClock } from './context.ts';
import { type DevFile, type DevHome, openDevHome } from './dev-home.ts';
import type { Catalogue } from './domain/plans.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded/postgres.ts';
import { serve } from './http/listen.ts';
import { API_KEY_SCOPES, type ApiKeyScope, createApiKey, verifyApiKey } from './lib/api-keys.ts';
import { type Sandbox, type SandboxOptions, startSandbox } from './sandbox/index.ts';
import { migrate } from './store/migrate.ts';
import { eventsHandled } from './stripe/inbox.ts';
import { requirePrices } from './stripe/prices.ts';

const DATABASE = 'tollgate';
const DEFAULT_PORT = 3000;
const DEFAULT_SANDBOX_PORT = 12111;

export interface Local {
  dev: DevFile;
  devFile: string;
  context: Context;
  stop(): Promise<void>;
}

export interface LocalOptions {
  environment: Environment;
  home: string;
  /** Hears in one line each what happens on the way. */
  say(line: string): void;
  log?: Logger;
}

/** Starts the parts in the order in which they need each other; what has started is stopped if a later one fails. */
export async function startLocal({ environment, home, say, log }: LocalOptions): Promise<Local> {
  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (let undo = stops.pop(); undo; undo = stops.pop()) await undo();
  };
  try {
    return await startParts({ environment, home: openDevHome(home), say, log, stops, stop });
  } catch (error) {
    await stop();
    throw error;
  }
}

type LocalContext = Awaited<ReturnType<typeof openContext>>;

interface Parts {
  environment: Environment;
  home: DevHome;
  say(line: string): void;
  log: Logger | undefined;
  /** How to end what runs, the newest last. */
  stops: (() => Promise<void>)[];
  stop(): Promise<void>;
}

async function startParts({ environment, home, say, log, stops, stop }: Parts): Promise<Local> {
  const port = await portFor('PORT', environment.PORT ?? DEFAULT_PORT);
  const secrets = home.readSecrets();
  const catalogue = readCatalogue(environment);
  const databaseUrl = environment.DATABASE_URL ?? (await startDatabase(home, say, stops));
  await requireDatabase(databaseUrl);
  const applied = await migrate(databaseUrl);
  if (applied.length > 0) say(`database: applied ${applied.join(', ')}`);

  const usesSandbox = environment.STRIPE_SECRET_KEY === undefined;
  const webhookSecret = environment.STRIPE_WEBHOOK_SECRET?.[0] ?? secrets.webhookSecret;
  const logger = log ?? createLog({ logLevel: environment.LOG_LEVEL ?? 'warn' });
  let context: LocalContext | undefined;
  const receiverIdle = async (): Promise<void> => {
    if (context) await eventsHandled(context);
  };
  const sandbox = usesSandbox
    ? await startSandboxPart({
        environment,
        home,
        catalogue,
        port,
        webhookSecret,
        logger,
        stops,
        receiverIdle,
      })
    : undefined;
  const config = configOf({
    ...environment,
    PORT: port,
    DATABASE_URL: databaseUrl,
    ...(environment.AUTH_JWKS_URL
      ? {}
      : { AUTH_JWT_SECRET: environment.AUTH_JWT_SECRET ?? secrets.jwtSecret }),
    ...(sandbox && {
      STRIPE_SECRET_KEY: 'sk_test_tollgate_sandbox',
      STRIPE_WEBHOOK_SECRET: [webhookSecret],
      STRIPE_API_BASE: sandbox.url,
    }),
  });
  context = await openContext({ config, catalogue, clock: sandbox ?? systemClock, log: logger });
  stops.push(context.close);
  await requirePrices(context);
  const workers = await startWorkers(context);
  let api: Awaited<ReturnType<typeof serve>> | undefined;
  // Together: each may take most of the 20 s that a stop may last.
  stops.push(async () => void (await Promise.all([api?.stop(), workers.stop()])));
  api = await serve(context, { port, host: config.host });
  const dev = await describe(context, config, { url: api.url, sandbox, webhookSecret, home });
  return { dev, devFile: home.devFile, context, stop };
}

async function startDatabase(home: DevHome, say: Parts['say'], stops: Parts['stops']): Promise<string> {
  const postgres = await startEmbeddedPostgres({
    dataDir: home.databaseFolder,
    onLog: (line) => say(`database: ${line}`),
  });
  stops.push(() => postgres.stop());
  return ensureDatabase(postgres, DATABASE);
}

/** @returns the URL of the database, which is made if it is not there */
export async function ensureDatabase(postgres: EmbeddedPostgres, name: string): Promise<string> {
  const client = new pg.Client({ connectionString: postgres.url('postgres') });
  await client.connect();
  try {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [name]);
    if (rowCount === 0) await client.query(`create database ${client.escapeIdentifier(name)}`);
  } finally {
    await client.end();
  }
  return postgres.url(name);
}

async function startSandboxPart(part: {
  environment: Environment;
  home: DevHome;
  catalogue: Catalogue;
  port: number;
  webhookSecret: string;
  logger: Logger;
  stops: Parts['stops'];
  receiverIdle: () => Promise<void>;
}): Promise<Sandbox> {
  const sandbox = await startSandbox({
    port: await portFor('SANDBOX_PORT', part.environment.SANDBOX_PORT ?? DEFAULT_SANDBOX_PORT),
    prices: sandboxPrices(part.catalogue),
    webhookEndpoints: [{ url: `http://127.0.0.1:${part.port}/webhooks/stripe`, secret: part.webhookSecret }],
    snapshotFile: part.home.sandboxFile,
    receiverIdle: part.receiverIdle,
    onError: (error) => part.logger.error({ err: error }, 'The Stripe sandbox failed'),
  });
  part.stops.push(() => sandbox.close());
  return sandbox;
}

/** 20 cents a credit, ten months' worth for a year: the catalogue has no prices, those are Stripe's. */
const CENTS_PER_CREDIT = 20;
const MONTHS_PAID_PER_YEAR = 10;

export function sandboxPrices(catalogue: Catalogue): SandboxOptions['prices'] {
  const currency = 'usd';
  const plans = Object.entries(catalogue.plans).flatMap(([plan, { prices, creditsPerPeriod }]) => {
    const productName = `Tollgate ${plan}`;
    const unitAmount = creditsPerPeriod * CENTS_PER_CREDIT;
    const monthly = { productName, currency, unitAmount, interval: 'month' as const };
    const annual = { ...monthly, unitAmount: unitAmount * MONTHS_PAID_PER_YEAR, interval: 'year' as const };
    return [
      ...(prices.monthly ? [{ lookupKey: prices.monthly, ...monthly }] : []),
      ...(prices.annual ? [{ lookupKey: prices.annual, ...annual }] : []),
    ];
  });
  const packs = Object.values(catalogue.packs).map(({ price, credits }) => ({
    lookupKey: price,
    productName: `${credits} credits`,
    unitAmount: credits * CENTS_PER_CREDIT,
    currency,
  }));
  return [...plans, ...packs];
}

/** The port itself, or a free one for 0, since the parts have to know each other's before they listen. */
function portFor(variable: string, wanted: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error: NodeJS.ErrnoException) => {
      const inUse = `${variable}: port ${wanted} is in use; stop what listens there or set ${variable} to another port`;
      reject(error.code === 'EADDRINUSE' ? new ConfigError(inUse) : error);
    });
    probe.listen(wanted, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(address !== null && typeof address === 'object' ? address.port : wanted));
    });
  });
}

async function describe(
  context: Context,
  config: Config,
  parts: { url: string; sandbox: Sandbox | undefined; webhookSecret: string; home: DevHome },
): Promise<DevFile> {
  const last = parts.home.readDevFile();
  const dev: DevFile = {
    url: parts.url,
    sandboxUrl: parts.sandbox?.url ?? null,
    databaseUrl: config.databaseUrl,
    apiKey: await keyFor(context, last?.apiKey, 'npm start', ['consume', 'read', 'billing']),
    adminApiKey: await keyFor(context, last?.adminApiKey, 'npm start (admin)', API_KEY_SCOPES),
    jwtSecret: config.auth.jwtSecret ?? null,
    webhookSecret: parts.webhookSecret,
    pid: process.pid,
  };
  parts.home.writeDevFile(dev);
  return dev;
}

/** The key of the last start while it is good, so that what was pasted somewhere goes on working. */
async function keyFor(
  context: Context,
  last: string | undefined,
  name: string,
  scopes: readonly ApiKeyScope[],
): Promise<string> {
  if (last !== undefined && (await verifyApiKey(context, last))) return last;
  return (await createApiKey(context, { name, scopes }, 'npm start')).key;
}
