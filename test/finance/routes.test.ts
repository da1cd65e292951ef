// The finance routes over HTTP: a run is asked for, done by its job, read, and its difference mended.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Listening, serve } from '../../src/http/listen.ts';
import { createApiKey } from '../../src/lib/api-keys.ts';
import { runJob } from '../../workers/jobs.ts';
import { Service } from '../stripe/harness.ts';
import { type Answer, call } from '../support/calls.ts';

let service: Service;
let listening: Listening;
let key: string;
beforeAll(async () => {
  service = await Service.start();
  listening = await serve(service.context, { port: 0, host: '127.0.0.1' });
  key = (await createApiKey(service.context, { name: 'finance', scopes: ['admin'] }, 'test')).key;
}, 60_000);
afterAll(async () => {
  await listening.stop();
  await service.stop();
});

const get = (path: string): Promise<Answer> => call(listening.url, 'GET', path, { as: key });
const post = (path: string, body: unknown = {}): Promise<Answer> =>
  call(listening.url, 'POST', path, { as: key, body });
const RUNS = '/v1/finance/reconciliations';

/** What the sweep wakes again as well. */
async function runAll(): Promise<void> {
  for (const job of service.woken.splice(0)) {
    const { name, ...data } = job;
    await runJob(service.context, { name, data, isLast: true });
    // A job may come twice.
    await runJob(service.context, { name, data, isLast: true });
  }
}

test('a run is asked for, done, read as JSON and CSV, and its difference mended', async () => {
  const userId = await service.subscriber();
  await service.buy(userId, { pack: 'pack_50' });
  await service.control('/delivery/settle');
  service.deliveries.length = 0;
  const asked = await post(RUNS, { userId });
  expect(asked.status).toBe(202);
  const { runId } = asked.body;
  expect((await get(`${RUNS}/${runId}`)).body).toMatchObject({ runId, status: 'pending', userId });
  await runAll();
  expect((await get(`${RUNS}/${runId}`)).body).toMatchObject({
    status: 'finished',
    counts: { subscriptions: 1, payments: 2, users: 1, differences: 1, missing_grant: 1 },
  });
  expect((await get(RUNS)).body.data).toMatchObject([{ runId }]);
  const { body } = await get(`${RUNS}/${runId}/differences?limit=1`);
  expect(body).toMatchObject({
    data: [
      { kind: 'missing_grant', userId, moneyMinor: 1000, currency: 'usd', tokens: 100_000, repair: 'open' },
    ],
    nextCursor: null,
  });
  const csv = await get(`${RUNS}/${runId}/differences.csv`);
  expect(csv.headers.get('content-type')).toMatch(/^text\/csv/);
  expect(csv.text.trimEnd().split('\r\n')).toHaveLength(2);
  expect(csv.text).toContain(`missing_grant,${body.data[0].subjectId},${userId},`);
  const repair = `${RUNS}/${runId}/differences/${body.data[0].id}/repair`;
  const mended = await post(repair);
  expect(mended.body).toMatchObject({ repair: 'repaired', outcome: 'synchronised with Stripe' });
  expect((await post(repair)).body).toEqual(mended.body);
  expect(await service.balance(userId)).toMatchObject({ credits: 150 });
});

test('what is not there is 404', async () => {
  expect((await get(`${RUNS}/recon_none`)).status).toBe(404);
  expect((await get(`${RUNS}/recon_none/differences`)).status).toBe(404);
  expect((await get(`${RUNS}/recon_none/differences.csv`)).status).toBe(404);
  expect((await post(`${RUNS}/recon_none/differences/diff_none/repair`)).status).toBe(404);
  expect((await post(RUNS, { userId: 'nobody' })).status).toBe(404);
});

test('the nightly job asks for a run of everything, and a lost job is woken', async () => {
  const { context } = service;
  await runJob(context, { name: 'reconcile', data: {}, isLast: true });
  const [asked] = service.woken.splice(0);
  expect(asked).toMatchObject({ name: 'run-reconciliation' });
  await service.advance(1);
  await runJob(context, { name: 'sweep-inbox', data: {}, isLast: true });
  expect(service.woken).toContainEqual(asked);
  await service.settle();
  await runAll();
  expect((await get(RUNS)).body.data[0]).toMatchObject({
    status: 'finished',
    userId: null,
    counts: { differences: 0 },
  });
});

test('a month is closed as JSON and as CSV', async () => {
  const month = context().clock.now().toISOString().slice(0, 7);
  const close = await get(`/v1/finance/close/${month}`);
  expect(close.status).toBe(200);
  expect(close.body).toMatchObject({ month, differences: [] });
  const csv = await get(`/v1/finance/close/${month}.csv`);
  expect(csv.headers.get('content-type')).toMatch(/^text\/csv/);
  expect(csv.text).toContain(`${month},tokens,,,,ledger,${close.body.tokens.ledger}`);
});

const context = () => service.context;
