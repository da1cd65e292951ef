// A hold ends once, whoever settles it and when; and it is no charge while it is open (peers.md pains 7 and 8).
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { rollUsers } from '../../src/lib/roll-users.ts';
import { findViolations } from '../../src/store/invariants.ts';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

let userId = '';
beforeEach(async () => {
  userId = await service.user();
});

const call = (path: string, body: object = {}, key?: string) =>
  service.call('POST', path, { as: service.keys.consume, body, ...(key === undefined ? {} : { key }) });
const hold = async (credits: number, expiresInSeconds = 60): Promise<string> =>
  (await call('/v1/credits/holds', { userId, credits, expiresInSeconds })).body.holdId;
const capture = (id: string, credits: number, key?: string) =>
  call(`/v1/credits/holds/${id}/capture`, { credits }, key);
const release = (id: string) => call(`/v1/credits/holds/${id}/release`);
const usage = async () =>
  (await service.call('GET', `/v1/users/${userId}/usage`, { as: service.keys.read })).body;

test('an open hold is shown as held and is no charge', async () => {
  await hold(3);
  expect(await usage()).toMatchObject({ credits: 2, heldTokens: 6000, totalTokensUsed: 0 });
  const ledger = await service.call('GET', `/v1/users/${userId}/ledger`, { as: service.keys.read });
  expect(ledger.body.data.map(({ type }: { type: string }) => type)).toEqual(['granted']);
});

test('of many captures and releases at once exactly one ends the hold', async () => {
  const id = await hold(3);
  const answers = await Promise.all([
    ...Array.from({ length: 6 }, () => capture(id, 3)),
    release(id),
    release(id),
  ]);
  const statuses = answers.map(({ status }) => status);
  expect(statuses.filter((status) => status === 200)).toHaveLength(1);
  expect(statuses.filter((status) => status === 409)).toHaveLength(7);
  const { credits, heldTokens } = await usage();
  expect([2, 5]).toContain(credits);
  expect(heldTokens).toBe(0);
});

test('a capture that is repeated with its key is charged once', async () => {
  const id = await hold(3);
  const first = await capture(id, 2, 'capture-1');
  const second = await capture(id, 2, 'capture-1');
  expect(second.body).toEqual(first.body);
  expect(await usage()).toMatchObject({ credits: 3, heldTokens: 0, totalTokensUsed: 4000 });
});

test('an expired hold gives back without anybody asking, once, also under the job', async () => {
  await hold(4);
  service.clock.advance(61);
  expect(await usage()).toMatchObject({ credits: 5, heldTokens: 0 });
  await rollUsers(service.context, 'due');
  await rollUsers(service.context, 'due');
  expect(await usage()).toMatchObject({ credits: 5, heldTokens: 0 });
});

test('work that ends after its hold has expired is charged once, and can be given back', async () => {
  const id = await hold(4);
  service.clock.advance(61);
  await rollUsers(service.context, 'due');
  const late = await capture(id, 3);
  expect(late.status).toBe(200);
  expect((await capture(id, 3)).status).toBe(409);
  await release(id);
  expect(await usage()).toMatchObject({ credits: 2, heldTokens: 0, totalTokensUsed: 6000 });
  const back = await call('/v1/credits/refund', { entryId: late.body.entryId, reason: 'It failed.' });
  expect(back.status).toBe(200);
  expect(await usage()).toMatchObject({ credits: 5, totalTokensUsed: 0 });
});

test('work that ends late on an empty balance is refused and takes nothing', async () => {
  const id = await hold(4);
  service.clock.advance(61);
  await call('/v1/credits/consume', { userId, credits: 3 });
  expect((await capture(id, 4)).status).toBe(402);
  expect(await usage()).toMatchObject({ credits: 2, heldTokens: 0 });
});

test('a hold cannot take what another holds', async () => {
  await hold(3);
  const refused = await call('/v1/credits/holds', { userId, credits: 3 });
  expect(refused.status).toBe(402);
  expect(refused.body).toMatchObject({ availableTokens: 4000, heldTokens: 6000 });
});

test('no invariant is violated by any of this', async () => {
  expect(await findViolations(service.context.pool)).toEqual([]);
});
