// The same promises on both backends: PostgreSQL always, Redis where TEST_REDIS_URL names one.
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Context } from '../../src/context.ts';
import { type JobRun, openJobs, openQueueStore, type QueueStore, SCHEDULE_QUEUE } from '../../src/queue.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { applySchedule, SCHEDULE } from '../../workers/schedule.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const log = pino({ level: 'silent' });
const redis = process.env.TEST_REDIS_URL;
const BACKENDS: [string, string | undefined][] = [
  ['PostgreSQL', undefined],
  ...(redis ? [['Redis', redis] as [string, string]] : []),
];

let database: TestDatabase;
let opened: Database;
beforeAll(async () => {
  database = await createTestDatabase();
  opened = openDatabase(database.url, () => undefined);
});
afterAll(async () => {
  await opened.close();
  await database.drop();
});

describe.each(BACKENDS)('%s', (_name, redisUrl) => {
  const open: { close(): Promise<unknown> }[] = [];
  afterEach(async () => {
    for (let one = open.pop(); one; one = open.pop()) await one.close();
  });
  const options = () => ({ databaseUrl: database.url, redisUrl, log });
  const kept = <T extends { close(): Promise<unknown> }>(one: T): T => {
    open.push(one);
    return one;
  };
  const store = async (): Promise<QueueStore> => kept(await openQueueStore(options(), 3));

  test('a wake-up reaches a worker with its ids', async () => {
    const runs: JobRun[] = [];
    const workers = await store();
    kept(workers.openWorker('stripe-events', async (job) => void runs.push(job), { concurrency: 2 }));
    const jobs = kept(await openJobs(options()));
    await jobs.ping();
    jobs.wake({ name: 'handle-stripe-event', eventId: 'evt_1' });
    // The same thing again is another wake-up: never deduplicated.
    jobs.wake({ name: 'handle-stripe-event', eventId: 'evt_1' });
    await expect
      .poll(() => runs, { timeout: 10_000 })
      .toEqual(
        Array.from({ length: 2 }, () => ({
          name: 'handle-stripe-event',
          data: { eventId: 'evt_1' },
          isLast: false,
        })),
      );
  });

  test('what was queued while no worker lived is done by the next', async () => {
    const jobs = await openJobs(options());
    jobs.wake({ name: 'run-workflow', workflowId: 'wf_1' });
    await jobs.close();
    const runs: unknown[] = [];
    kept(
      (await store()).openWorker('workflows', async ({ data }) => void runs.push(data), { concurrency: 1 }),
    );
    await expect.poll(() => runs, { timeout: 10_000 }).toEqual([{ workflowId: 'wf_1' }]);
  });

  test('a failing job is tried again, and the last attempt knows that it is', async () => {
    const attempts: boolean[] = [];
    const worker = kept(
      (await store()).openWorker(
        'stripe-events',
        async ({ isLast }) => {
          attempts.push(isLast);
          if (!isLast) throw new Error('not yet');
        },
        { concurrency: 1 },
      ),
    );
    worker.on('failed', () => undefined);
    kept(await openJobs(options())).wake({ name: 'handle-stripe-event', eventId: 'evt_2' });
    await expect.poll(() => attempts, { timeout: 20_000 }).toEqual([false, false, true]);
  });

  test('closing waits for the running job', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const seen: string[] = [];
    const worker = (await store()).openWorker(
      'workflows',
      async () => {
        seen.push('began');
        await held;
        seen.push('ended');
      },
      { concurrency: 1 },
    );
    kept(await openJobs(options())).wake({ name: 'run-workflow', workflowId: 'wf_2' });
    await expect.poll(() => seen, { timeout: 10_000 }).toEqual(['began']);
    const closed = worker.close().then(() => seen.push('closed'));
    release();
    await closed;
    expect(seen).toEqual(['began', 'ended', 'closed']);
  });

  test('the schedule is this table, whoever applies it, and however many at once', async () => {
    const context = { pool: opened.pool } as Context;
    const queues = await Promise.all([store(), store(), store(), store()]);
    const schedules = queues.map((one) => kept(one.openQueue(SCHEDULE_QUEUE)));
    const [first] = schedules;
    await first!.upsertJobScheduler(
      'of-an-older-version',
      { every: 1000 },
      { name: 'x', data: {}, opts: {} },
    );
    await first!.upsertJobScheduler(
      'sweep-inbox',
      { every: 1000 },
      { name: 'sweep-inbox', data: {}, opts: {} },
    );
    await Promise.all(schedules.map((queue) => applySchedule(context, queue)));
    const present = await first!.getJobSchedulers();
    expect(Object.fromEntries(present.map(({ key, every }) => [key, Number(every)]))).toEqual(SCHEDULE);
    const runs: string[] = [];
    const worker = (await store()).openWorker(SCHEDULE_QUEUE, async ({ name }) => void runs.push(name), {
      concurrency: 1,
    });
    kept(worker);
    // A job that the removed scheduler had already put in line still comes, and is none of ours.
    const known = () => runs.filter((name) => name in SCHEDULE).sort();
    await expect.poll(known, { timeout: 10_000 }).toEqual(Object.keys(SCHEDULE).sort());
  });
});

test('a store that does not answer is refused at the start', async () => {
  const databaseUrl = 'postgresql://nobody@127.0.0.1:1/none';
  await expect(openJobs({ databaseUrl, log })).rejects.toThrow();
  await expect(openJobs({ databaseUrl, redisUrl: 'redis://127.0.0.1:1', log })).rejects.toThrow();
});
