// What a repeated Idempotency-Key gets.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;
let call: TestService['call'];
let keys: TestService['keys'];
beforeAll(async () => {
  service = await startService();
  ({ call, keys } = service);
});
afterAll(() => service.close());

const consume = (userId: string, more: Record<string, unknown> = {}, key?: string) =>
  call('POST', '/v1/credits/consume', {
    as: keys.consume,
    body: { userId, ...more },
    ...(key === undefined ? {} : { key }),
  });
const get = (path: string) => call('GET', path, { as: keys.read });
const grant = (userId: string, body: Record<string, unknown>, key?: string) =>
  call('POST', `/v1/users/${userId}/grants`, {
    as: keys.admin,
    body: { source: 'bonus', reason: 'a test', ...body },
    ...(key === undefined ? {} : { key }),
  });

describe('Idempotency-Key', () => {
  it('a repeated key gets the first answer, status and body, and has no second effect', async () => {
    const userId = await service.user();
    const first = await consume(userId, { credits: 2 }, 'repeat');
    await consume(userId, { credits: 1 });
    const again = await consume(userId, { credits: 2 }, 'repeat');
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    expect([again.status, again.body]).toEqual([first.status, first.body]);
    const given = await grant(userId, { credits: 1 }, 'given');
    const givenAgain = await grant(userId, { credits: 1 }, 'given');
    expect([givenAgain.status, givenAgain.body]).toEqual([201, given.body]);
    expect(givenAgain.headers.get('idempotent-replayed')).toBe('true');
    expect((await get(`/v1/users/${userId}/usage`)).body.credits).toBe(3);
  });

  it('the order of fields and the quotes around a key make no other request', async () => {
    const userId = await service.user();
    const send = (key: string, raw: string) =>
      call('POST', '/v1/credits/consume', { as: keys.consume, key, raw });
    const first = await send('a "b" \\ c', `{"userId":"${userId}","tokens":5}`);
    const again = await send('"a \\"b\\" \\\\ c"', `{"tokens": 5, "userId": "${userId}"}`);
    expect(first.status).toBe(200);
    expect(again.body).toEqual(first.body);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
  });

  it('422 for the same key with another request', async () => {
    const userId = await service.user();
    await consume(userId, { credits: 1 }, 'other');
    const { status, body } = await consume(userId, { credits: 2 }, 'other');
    expect([status, body.code]).toEqual([422, 'idempotency_key_reused']);
    await grant(userId, { credits: 1 }, 'other-grant');
    expect((await grant(userId, { credits: 2 }, 'other-grant')).status).toBe(422);
  });

  it('the same key is free on another route and for another user', async () => {
    const [one, two] = [await service.user(), await service.user()];
    expect((await consume(one, {}, 'shared')).status).toBe(200);
    expect((await consume(two, {}, 'shared')).headers.get('idempotent-replayed')).toBeNull();
    expect((await grant(one, { credits: 1 }, 'shared')).status).toBe(201);
  });

  it('a 402 is not stored: after a grant the same key succeeds', async () => {
    const userId = await service.user();
    expect((await consume(userId, { credits: 7 }, 'later')).status).toBe(402);
    await grant(userId, { credits: 2 });
    const { status, body, headers } = await consume(userId, { credits: 7 }, 'later');
    expect([status, body.availableTokens]).toEqual([200, 0]);
    expect(headers.get('idempotent-replayed')).toBeNull();
  });

  it('of twenty at once with one key, one takes and all get the same answer', async () => {
    const userId = await service.user();
    const all = await Promise.all(
      Array.from({ length: 20 }, () => consume(userId, { credits: 1 }, 'at-once')),
    );
    expect(new Set(all.map(({ text }) => text)).size).toBe(1);
    expect((await get(`/v1/users/${userId}/usage`)).body.credits).toBe(4);
  });
});
