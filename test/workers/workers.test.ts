// The real worker process against the real sandbox, killed where it hurts; and the scheduled work.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { rollUsers } from '../../src/lib/roll-users.ts';
import { type Jobs, openJobs } from '../../src/queue.ts';
import { listDueUsers } from '../../src/store/due-users.ts';
import { sweepInbox } from '../../src/stripe/backfill.ts';
import { receiveWebhook } from '../../src/stripe/webhook.ts';
import { startWorkers } from '../../workers/index.ts';
import { runJob } from '../../workers/jobs.ts';
import { SECRET, Service } from '../stripe/harness.ts';

let service: Service;
let jobs: Jobs;
const children: ChildProcess[] = [];
beforeAll(async () => {
  service = await Service.start();
  const { config, log } = service.context;
  jobs = await openJobs({ databaseUrl: config.databaseUrl, log });
});
afterEach(async () => {
  for (const child of children.splice(0)) if (child.exitCode === null) child.kill('SIGKILL');
});
afterAll(async () => {
  await jobs.close();
  await service.stop();
});

const PRO = { plan: 'pro', credits: 100, allowance: 100 };
const BOUND = { timeout: 30_000, interval: 100 };

/** What `npm run worker` runs. */
function spawnWorker(): ChildProcess {
  const { config } = service.context;
  const child = spawn(process.execPath, ['--import', 'tsx', 'workers/index.ts'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      PATH: process.env.PATH,
      DATABASE_URL: config.databaseUrl,
      STRIPE_SECRET_KEY: config.stripe.secretKey,
      STRIPE_WEBHOOK_SECRET: SECRET,
      STRIPE_API_BASE: service.sandbox.url,
      AUTH_JWT_SECRET: 'x'.repeat(32),
      LOG_LEVEL: 'silent',
    },
  });
  children.push(child);
  return child;
}

/** Everything that has arrived goes into the inbox, and its jobs into the real queue. */
async function receiveAll(): Promise<void> {
  await service.control('/delivery/settle');
  for (const { body, signature } of service.deliveries.splice(0)) {
    await receiveWebhook({ ...service.context, jobs }, body, signature);
  }
}

test('a worker killed between its fetch and its commit leaves nothing, and the next one does it once', async () => {
  const { pool } = service.context;
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  await service.buy(userId, { pack: 'pack_50' });
  // The worker reads from Stripe and then waits here for the user's row, with its transaction open.
  const holder = await pool.connect();
  await holder.query('begin');
  await holder.query('select 1 from users where id = $1 for update', [userId]);
  const waiting = async (): Promise<number> => {
    const { rows } = await pool.query(
      `select count(*) as count from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock' and query like '%from users where bucket%'`,
    );
    return rows[0].count;
  };
  await receiveAll();
  const worker = spawnWorker();
  await expect.poll(waiting, BOUND).toBeGreaterThan(0);
  worker.kill('SIGKILL');
  await once(worker, 'exit');
  await holder.query('rollback');
  holder.release();
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 5, allowance: 5 });
  expect((await service.eventsByStatus()).pending).toBeGreaterThan(0);

  const next = spawnWorker();
  await sweepInbox({ ...service.context, jobs });
  await expect.poll(() => service.balance(userId), BOUND).toEqual({ ...PRO, credits: 150, top_up: 50 });
  await expect.poll(async () => (await service.eventsByStatus()).pending, BOUND).toBeUndefined();
  expect(await service.violations()).toEqual([]);
  next.kill('SIGTERM');
  expect(await once(next, 'exit')).toEqual([0, null]);
}, 90_000);

test('workers beside the service handle what arrives, and stop', async () => {
  const workers = await startWorkers({ ...service.context, jobs });
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  await receiveAll();
  await expect.poll(() => service.balance(userId), BOUND).toEqual(PRO);
  await workers.stop();
});

test('users for whom something is due are rolled; one who cannot be stops nobody', async () => {
  const { pool } = service.context;
  const users = await Promise.all(Array.from({ length: 5 }, () => service.signUp()));
  await service.advance(40);
  const stuck = await pool.connect();
  await stuck.query('begin');
  await stuck.query('select 1 from users where id = $1 for update', [users[2]]);
  const rolled = await rollUsers(service.context, 'due');
  await stuck.query('rollback');
  stuck.release();
  expect(rolled).toBeGreaterThanOrEqual(4);
  expect(service.alerts).toContain('roll_failed');
  const due = await listDueUsers(pool, 'due', { now: service.sandbox.now(), limit: 100 });
  expect(due).toEqual([users[2]]);
  expect(await rollUsers(service.context, 'due')).toBe(1);
  expect(await rollUsers(service.context, 'due')).toBe(0);
  const { rows } = await pool.query(
    'select user_id, count(*) as count from credit_grants where user_id = any($1) group by 1',
    [users],
  );
  expect(rows.map(({ count }) => count)).toEqual([2, 2, 2, 2, 2]);
});

test('a paid plan that has lapsed ends without anybody asking', async () => {
  const userId = await service.subscriber();
  await service.payments(userId, 'card_declined');
  await service.advance(33);
  await service.settle();
  await service.advance(7);
  await rollUsers(service.context, 'lapsed');
  const { rows } = await service.context.pool.query('select subscription_tier from users where id = $1', [
    userId,
  ]);
  expect(rows).toEqual([{ subscription_tier: 'free' }]);
});

test('every scheduled job runs, and an unknown one is an error', async () => {
  for (const name of [
    'reset-due-users',
    'check-subscription-expiry',
    'sweep-inbox',
    'backfill-events',
    'verify-ledger',
    'rotate-ledger',
  ]) {
    await runJob(service.context, { name, data: {}, isLast: true });
    await runJob(service.context, { name, data: {}, isLast: true });
  }
  await expect(runJob(service.context, { name: 'nothing', data: {}, isLast: true })).rejects.toThrow(
    'no job',
  );
  const bad = runJob(service.context, { name: 'handle-stripe-event', data: { eventId: 7 }, isLast: true });
  await expect(bad).rejects.toThrow();
});
