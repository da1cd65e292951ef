/** Whether this process can do its work now: database, migrations, queue. */
import type { Context } from '../context.ts';
import { migrationStatus } from '../store/migrate.ts';
import { ping } from '../store/ping.ts';

/** A check that takes longer counts as failed: a probe wants an answer, not a wait. */
const CHECK_MS_MAX = 1_000;

export interface Readiness {
  isReady: boolean;
  /** `ok`, or in words what is wrong. */
  checks: Record<'database' | 'migrations' | 'queue', string>;
}

/** Once the schema is as this version wants it, it stays so while the process runs. */
const migrated = new WeakSet<Context>();

export async function readiness(context: Context): Promise<Readiness> {
  const [database, migrations, queue] = await Promise.all([
    outcome(context, 'database', () => ping(context.pool)),
    outcome(context, 'migrations', () => checkMigrations(context)),
    outcome(context, 'queue', () => context.jobs.ping()),
  ]);
  const checks = { database, migrations, queue };
  return { isReady: Object.values(checks).every((check) => check === 'ok'), checks };
}

/** For the operator to act on, who may not be the only one to read it: the reason itself goes to the log. */
const WRONG = {
  database: 'does not answer',
  migrations: 'could not be read',
  queue: 'does not answer',
} as const;

class NotReady extends Error {}

async function outcome(
  context: Context,
  name: keyof typeof WRONG,
  check: () => Promise<void>,
): Promise<string> {
  try {
    await within(CHECK_MS_MAX, check());
    return 'ok';
  } catch (error) {
    context.log.warn({ err: error, check: name }, 'not ready');
    return error instanceof NotReady ? error.message : WRONG[name];
  }
}

async function checkMigrations(context: Context): Promise<void> {
  if (migrated.has(context)) return;
  const pending = await migrationStatus(context.pool);
  if (pending.length > 0) throw new NotReady(`missing ${pending.join(', ')}: run npm run db:migrate`);
  migrated.add(context);
}

function within<T>(ms: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new NotReady(`does not answer within ${ms} ms`)), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
