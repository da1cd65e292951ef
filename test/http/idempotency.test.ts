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

  it('what was asked is written as the same hash as ever, so that every version knows the requests of those before it', async () => {
    const userId = await service.user('hashed');
    const metadata = { model: 'gpt-5', 9: [true, null, 'é'], 10: { b: 1, a: 2 } };
    await consume(userId, { tokens: 5, metadata }, 'alone');
    const items = [
      { key: 'in-batch', tokens: 5, userId, metadata },
      { key: 'shortest', userId },
    ];
    await call('POST', '/v1/credits/consume/batch', { as: keys.consume, key: '', body: { items } });
    const { rows } = await service.context.pool.query(
      `select key, encode(request_hash, 'hex') as hash from ledger_entries
       where user_id = $1 and type = 'consumed' order by seq`,
      [userId],
    );
    expect(rows).toEqual([
      { key: 'consume:alone', hash: '2dcbb731c9b35fc38effbcab92f6d913' },
      { key: 'consume-item:in-batch', hash: '5e19bf4f995ed713294a741ac45b7851' },
      { key: 'consume-item:shortest', hash: 'dd6fc878e723531d26252f5ad9da661e' },
    ]);
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

describe('POST /v1/credits/consume/batch', () => {
  const batch = (items: Record<string, unknown>[]) =>
    call('POST', '/v1/credits/consume/batch', { as: keys.consume, key: '', body: { items } });

  it('decides each item by itself, in order, and says what it would have got by itself', async () => {
    const [rich, poor] = [await service.user(), await service.user()];
    const { status, body } = await batch([
      { userId: rich, key: 'a', credits: 2 },
      { userId: poor, key: 'a', credits: 6 },
      { userId: 'nobody-at-all', key: 'a' },
      { userId: rich, key: 'b', tokens: 500, metadata: { page: 1 } },
      { userId: rich, key: 'c', feature: 'no-such-feature' },
      { userId: poor, key: 'b' },
    ]);
    expect(status).toBe(200);
    expect(body.results.map((result: { status: number }) => result.status)).toEqual([
      200, 402, 404, 200, 400, 200,
    ]);
    expect(body.results[0]).toMatchObject({
      success: true,
      tokensUsed: 4_000,
      availableTokens: 6_000,
      replayed: false,
    });
    expect(body.results[1]).toMatchObject({ code: 'insufficient_credits', requiredTokens: 12_000 });
    expect(body.results[3]).toMatchObject({ availableTokens: 5_500 });
    expect((await get(`/v1/users/${rich}/usage`)).body.totalTokensUsed).toBe(4_500);
    expect((await get(`/v1/users/${poor}/usage`)).body.totalTokensUsed).toBe(2_000);
  });

  it('a repeated item gets its first answer and has no second effect, in the same batch and in a later one', async () => {
    const userId = await service.user();
    const item = { userId, key: 'again', credits: 1 };
    const first = (await batch([item, item, { ...item, credits: 2 }])).body.results;
    const later = (await batch([{ userId, key: 'again', credits: 1 }])).body.results;
    const { replayed: _, ...answer } = first[0];
    expect(first.map((result: { status: number }) => result.status)).toEqual([200, 200, 422]);
    expect([first[1], later[0]]).toEqual([
      { ...answer, replayed: true },
      { ...answer, replayed: true },
    ]);
    expect((await get(`/v1/users/${userId}/usage`)).body.credits).toBe(4);
  });

  it('the key of an item is another than the same key in a request by itself', async () => {
    const userId = await service.user();
    await consume(userId, { credits: 1 }, 'both');
    expect((await batch([{ userId, key: 'both', credits: 1 }])).body.results[0]).toMatchObject({
      status: 200,
      replayed: false,
    });
    expect((await get(`/v1/users/${userId}/usage`)).body.credits).toBe(3);
  });

  it('takes 1,000 items of the longest ids', async () => {
    const userId = await service.user(`long-${'x'.repeat(200)}`);
    const items = Array.from({ length: 1_000 }, (_, n) => ({
      userId,
      key: `${n}`.padStart(255, 'k'),
      tokens: 1,
    }));
    const { body } = await batch(items);
    expect(new Set(body.results.map((result: { entryId: string }) => result.entryId)).size).toBe(1_000);
    expect((await get(`/v1/users/${userId}/usage`)).body.availableTokens).toBe(9_000);
  });
});
