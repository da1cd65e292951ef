/** `npm run cli -- …`: what an operator does by hand. Uses the environment, else the Tollgate that `npm start` runs. */
import { Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import {
  ConfigError,
  configOf,
  type Environment,
  readCatalogue,
  readEnvironment,
  startFailure,
} from './config.ts';
import { type Clock, type Context, createLog, openContext, systemClock } from './context.ts';
import { openDevHome } from './dev-home.ts';
import { TOKENS_PER_CREDIT } from './domain/plans.ts';
import { TollgateError } from './errors.ts';
import { reconcileNow } from './finance/runs.ts';
import { API_KEY_SCOPES, type ApiKeyScope, createApiKey, listApiKeys, revokeApiKey } from './lib/api-keys.ts';
import { grantCredits } from './lib/grants.ts';
import { unpark } from './lib/parking.ts';
import { type ChangeRequest, requestHash } from './lib/requests.ts';
import { readSubscription, readUsage, readUser } from './lib/users.ts';
import { newId } from './store/ids.ts';
import { findViolations } from './store/invariants.ts';
import { rotateLedger } from './store/ledger-rotation.ts';
import { findParking } from './store/parking.ts';
import { backfillEvents } from './stripe/backfill.ts';
import { replayStripeEvent } from './stripe/inbox.ts';

const ACTOR = 'cli';

const print = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);

/** A running `npm start` fills in what the environment leaves out. */
function environmentOfRunning(environment: Environment): {
  environment: Environment;
  sandboxUrl: string | null;
} {
  if (environment.DATABASE_URL !== undefined) return { environment, sandboxUrl: null };
  const dev = openDevHome(environment.TOLLGATE_HOME ?? '.tollgate').readDevFile();
  if (!dev) throw new ConfigError('DATABASE_URL: set it, or run npm start first');
  const filled = {
    ...environment,
    DATABASE_URL: dev.databaseUrl,
    STRIPE_WEBHOOK_SECRET: [dev.webhookSecret],
    ...(dev.jwtSecret === null ? {} : { AUTH_JWT_SECRET: dev.jwtSecret }),
    ...(dev.sandboxUrl === null
      ? {}
      : { STRIPE_SECRET_KEY: 'sk_test_tollgate_sandbox', STRIPE_API_BASE: dev.sandboxUrl }),
  };
  return { environment: filled, sandboxUrl: dev.sandboxUrl };
}

/** Beside the sandbox business time is the sandbox's; one reading is enough for one command. */
async function clockOf(sandboxUrl: string | null): Promise<Clock> {
  if (sandboxUrl === null) return systemClock;
  const response = await fetch(`${sandboxUrl}/_sandbox/clock`);
  const { now } = z.object({ now: z.iso.datetime() }).parse(await response.json());
  return { now: () => new Date(now) };
}

async function withContext(work: (context: Context) => Promise<void>): Promise<void> {
  const { environment, sandboxUrl } = environmentOfRunning(readEnvironment());
  const config = configOf(environment);
  const context = await openContext({
    config,
    catalogue: readCatalogue(environment),
    clock: await clockOf(sandboxUrl),
    log: createLog({ logLevel: environment.LOG_LEVEL ?? 'warn' }),
  });
  try {
    await work(context);
  } finally {
    await context.close();
  }
}

function scopesOf(text: string): ApiKeyScope[] {
  const parsed = z.array(z.enum(API_KEY_SCOPES)).min(1).safeParse(text.split(','));
  if (!parsed.success) throw new InvalidArgumentError(`one or more of ${API_KEY_SCOPES.join(',')}`);
  return parsed.data;
}

function creditsOf(text: string): number {
  const parsed = z.coerce.number().int().min(1).max(500_000_000).safeParse(text);
  if (!parsed.success) throw new InvalidArgumentError('a whole number of credits from 1');
  return parsed.data;
}

function dateOf(text: string): Date {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) throw new InvalidArgumentError('an ISO 8601 time');
  return date;
}

function requestOf(key: string | undefined, ...input: unknown[]): ChangeRequest {
  return {
    key: key ?? newId('cli'),
    scope: 'cli',
    hash: requestHash(...input),
    requestId: null,
    actor: ACTOR,
  };
}

function addKeyCommands(program: Command): void {
  const keys = program.command('keys').description('API keys');
  keys
    .command('create <name>')
    .description('make a key; it is shown this once')
    .requiredOption('--scopes <list>', `comma-separated: ${API_KEY_SCOPES.join(',')}`, scopesOf)
    .action((name: string, { scopes }: { scopes: ApiKeyScope[] }) =>
      withContext(async (context) => print(await createApiKey(context, { name, scopes }, ACTOR))),
    );
  keys
    .command('list')
    .description('the newest 100')
    .action(() =>
      withContext(async (context) => print(await listApiKeys(context, { before: null, limit: 100 }))),
    );
  keys
    .command('revoke <id>')
    .action((id: string) => withContext((context) => revokeApiKey(context, id, ACTOR)));
}

function addUserCommands(program: Command): void {
  const users = program.command('users <userId>').description('what there is to know about a user');
  users.action((userId: string) =>
    withContext(async (context) =>
      print({
        user: await readUser(context, userId),
        usage: await readUsage(context, userId),
        subscription: await readSubscription(context, userId),
        parked: (await findParking(context.pool, userId)) ?? null,
      }),
    ),
  );
  users
    .command('unpark <userId>')
    .description('give a user whose ledger was mended back to the jobs and to Stripe')
    .requiredOption('--reason <text>', 'what was wrong and mended, for the audit')
    .action((userId: string, { reason }: { reason: string }) =>
      withContext(async (context) => print(await unpark(context, userId, { reason, actor: ACTOR }))),
    );
  program
    .command('grant')
    .description('give bonus credits')
    .argument('<userId>')
    .argument('<credits>', 'whole credits', creditsOf)
    .requiredOption('--reason <text>', 'why, for the audit')
    .option('--key <key>', 'the same key grants once')
    .action((userId: string, credits: number, { reason, key }: { reason: string; key?: string }) =>
      withContext(async (context) => {
        const input = { userId, tokens: credits * TOKENS_PER_CREDIT, source: 'bonus' as const, reason };
        print((await grantCredits(context, input, requestOf(key, input))).body);
      }),
    );
}

function addEventCommands(program: Command): void {
  const events = program.command('events').description('Stripe events');
  events
    .command('replay <eventId>')
    .description('handle an event once more')
    .action((eventId: string) =>
      withContext(async (context) => print(await replayStripeEvent(context, eventId, ACTOR))),
    );
  events
    .command('backfill')
    .description('fetch the events that never arrived')
    .option('--since <time>', 'default: where the last one left off', dateOf)
    .action(({ since }: { since?: Date }) =>
      withContext(async (context) => print(await backfillEvents(context, since))),
    );
}

function addReconcileCommand(program: Command): void {
  program
    .command('reconcile')
    .description('compare Stripe with the ledger; exit 1 if they differ at the end')
    .option('--user <userId>', 'only this user')
    .option('--since <time>', 'only payments made since', dateOf)
    .option('--repair', 'mend what can be mended')
    .action(({ user, since, repair }: { user?: string; since?: Date; repair?: boolean }) =>
      withContext(async (context) => {
        const result = await reconcileNow(context, { userId: user, since }, repair ? ACTOR : null);
        print(result);
        if (result.differences.some((one) => one.repair !== 'repaired')) process.exitCode = 1;
      }),
    );
}

function addVerifyCommand(program: Command): void {
  program
    .command('verify')
    .description('check every invariant of the ledger; exit 1 if one is violated')
    .action(() =>
      withContext(async (context) => {
        const violations = await findViolations(context.pool);
        print({ violations });
        if (violations.length > 0) process.exitCode = 1;
      }),
    );
}

function addRotateCommand(program: Command): void {
  program
    .command('rotate-ledger')
    .description(
      'make the newest part of the ledger begin with this week, whatever its size; consumes go on meanwhile',
    )
    .action(() =>
      withContext(async ({ config, clock }) =>
        print((await rotateLedger(config.databaseUrl, clock.now())) ?? 'Another process is at it.'),
      ),
    );
}

const program = new Command('tollgate').description('What an operator does by hand.');
const commands = [
  addKeyCommands,
  addUserCommands,
  addEventCommands,
  addReconcileCommand,
  addVerifyCommand,
  addRotateCommand,
];
for (const add of commands) add(program);

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`${error instanceof TollgateError ? error.message : startFailure(error)}\n`);
  process.exitCode = 1;
}
