// What each route of the service does, and what a repeated key gets.
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

describe('users', () => {
  it('POST /v1/users: 201 with the user, then 200 and nothing granted twice', async () => {
    const body = { userId: 'new', email: 'new@example.test', name: 'New' };
    const first = await call('POST', '/v1/users', { as: keys.backend, body });
    const again = await call('POST', '/v1/users', { as: keys.backend, body });
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(first.body).toMatchObject({ ...body, plan: 'free', credits: 5, availableTokens: 10_000 });
    expect(again.body).toEqual(first.body);
  });

  it('POST /v1/users: a plan and its days', async () => {
    const { status, body } = await call('POST', '/v1/users', {
      as: keys.backend,
      body: { userId: 'new-pro', plan: 'pro', periodDays: 10 },
    });
    expect(status).toBe(201);
    expect(body).toMatchObject({ plan: 'pro', credits: 100, subscriptionEndsAt: '2026-03-20T12:00:00.000Z' });
  });

  it('reads the user, its usage, ledger, grants and subscription', async () => {
    const userId = await service.user('read/me ö'.replace(' ö', '+x'));
    await consume(userId, { credits: 2, metadata: { model: 'm' } }, 'read-1');
    const at = `/v1/users/${encodeURIComponent(userId)}`;
    expect((await get(at)).body).toMatchObject({ userId, credits: 3, totalTokensUsed: 4000 });
    const usage = await get(`${at}/usage`);
    expect(usage.body).toMatchObject({
      credits: 3,
      totalTokens: 10_000,
      availableTokens: 6000,
      heldTokens: 0,
    });
    expect(usage.body.balances).toEqual([
      {
        grantId: expect.any(String),
        source: 'allowance',
        remainingTokens: 6000,
        expiresAt: expect.any(String),
      },
    ]);
    const ledger = await get(`${at}/ledger`);
    expect(ledger.body.data).toMatchObject([
      {
        type: 'consumed',
        tokens: -4000,
        balanceAfter: 6000,
        key: 'consume:read-1',
        metadata: { model: 'm' },
      },
      { type: 'granted', tokens: 10_000, balanceAfter: 10_000 },
    ]);
    const grants = await get(`${at}/grants`);
    expect(grants.body.data).toMatchObject([{ source: 'allowance', tokens: 10_000, remainingTokens: 6000 }]);
    expect((await get(`${at}/subscription`)).body).toMatchObject({
      plan: 'free',
      stripeSubscriptionId: null,
    });
  });

  it('usage?at= is the balance as of then, held tokens apart', async () => {
    const userId = await service.user();
    const usageAt = (at: string) => get(`/v1/users/${userId}/usage?at=${encodeURIComponent(at)}`);
    const born = service.clock.now();
    service.clock.advance(60);
    await call('POST', '/v1/credits/holds', { as: keys.consume, body: { userId, tokens: 3000 } });
    service.clock.advance(60);
    await consume(userId);
    const now = (await get(`/v1/users/${userId}/usage`)).body;
    const instant = (seconds: number) => new Date(born.getTime() + seconds * 1000).toISOString();
    const at = async (seconds: number) => (await usageAt(instant(seconds))).body;
    expect(await at(0)).toMatchObject({ credits: 5, availableTokens: 10_000, heldTokens: 0 });
    expect(await at(119)).toMatchObject({ credits: 3, availableTokens: 7000, heldTokens: 3000 });
    expect(await at(120)).toEqual({
      at: instant(120),
      credits: 2,
      availableTokens: 5000,
      heldTokens: 3000,
      debtTokens: 0,
      totalTokensUsed: 2000,
      balances: now.balances,
    });
    service.clock.set(born);
  });

  it('explains an entry down to its grants, request, hold and refunds', async () => {
    const userId = await service.user();
    const held = await call('POST', '/v1/credits/holds', {
      as: keys.consume,
      body: { userId, tokens: 3000 },
    });
    const { body: taken } = await call('POST', `/v1/credits/holds/${held.body.holdId}/capture`, {
      as: keys.consume,
      body: { tokens: 2500 },
      headers: { 'x-request-id': 'capture-request' },
    });
    const { body: back } = await call('POST', '/v1/credits/refund', {
      as: keys.consume,
      body: { entryId: taken.entryId, tokens: 500, reason: 'half the answer' },
    });
    const explain = async (entryId: string) => (await get(`/v1/users/${userId}/ledger/${entryId}`)).body;
    const listed = (await get(`/v1/users/${userId}/ledger`)).body.data;
    const consumed = await explain(taken.entryId);
    expect(consumed).toMatchObject({
      ...listed[1],
      requestId: 'capture-request',
      hold: { holdId: held.body.holdId, status: 'captured', tokens: 3000, capturedTokens: 2500 },
      refersTo: null,
      referredToBy: [listed[0]],
      stripeEventIds: [],
    });
    expect(consumed.grants).toMatchObject([
      { tokens: -2500, source: 'allowance', key: `signup:${userId}`, offer: 'free', amountTokens: 10_000 },
    ]);
    expect(consumed.grants[0]).toMatchObject({
      windowStart: '2026-03-10T12:00:00.000Z',
      windowEnd: '2026-04-10T12:00:00.000Z',
      invoiceId: null,
    });
    expect(await explain(back.entryId)).toMatchObject({
      type: 'refunded',
      reason: 'half the answer',
      refersTo: { entryId: taken.entryId },
      grants: [{ tokens: 500 }],
      hold: null,
      referredToBy: [],
    });
  });

  it('pages by cursor without a gap or a repeat', async () => {
    const userId = await service.user();
    for (let n = 0; n < 5; n++) await consume(userId, { tokens: 10 + n });
    const seen: number[] = [];
    let cursor = '';
    do {
      const { body } = await get(`/v1/users/${userId}/ledger?limit=2${cursor && `&cursor=${cursor}`}`);
      expect(body.data.length).toBeLessThanOrEqual(2);
      seen.push(...body.data.map((entry: { tokens: number }) => entry.tokens));
      cursor = body.nextCursor;
    } while (cursor);
    expect(seen).toEqual([-14, -13, -12, -11, -10, 10_000]);
  });

  it('DELETE profile erases e-mail and name and leaves the ledger', async () => {
    const body = { userId: 'erase', email: 'e@example.test', name: 'E' };
    await call('POST', '/v1/users', { as: keys.backend, body });
    const before = await get('/v1/users/erase/ledger');
    const erased = await call('DELETE', '/v1/users/erase/profile', { as: keys.backend });
    expect([erased.status, erased.text]).toEqual([204, '']);
    expect((await get('/v1/users/erase')).body).toMatchObject({ email: null, name: null, credits: 5 });
    expect((await get('/v1/users/erase/ledger')).body).toEqual(before.body);
  });
});

describe('credits', () => {
  it('consume: one credit where nothing is said, else credits, tokens or a feature', async () => {
    const userId = await service.user();
    const first = await consume(userId);
    expect(first.body).toEqual({
      success: true,
      entryId: expect.stringMatching(/^le_/),
      tokensUsed: 2000,
      creditsRemaining: 4,
      availableTokens: 8000,
      totalTokensUsed: 2000,
      from: [{ grantId: expect.any(String), source: 'allowance', tokens: 2000 }],
    });
    expect((await consume(userId, { tokens: 1 })).body).toMatchObject({ tokensUsed: 1, creditsRemaining: 3 });
    expect((await consume(userId, { feature: 'code_review' })).body.tokensUsed).toBe(2000);
    expect((await consume(userId, { credits: 2 })).body).toMatchObject({ availableTokens: 1999 });
  });

  it('402 with what the caller needs to act on it, and nothing taken', async () => {
    const userId = await service.user();
    const { status, body } = await consume(userId, { credits: 6 });
    expect(status).toBe(402);
    expect(body).toMatchObject({
      code: 'insufficient_credits',
      requiredTokens: 12_000,
      availableTokens: 10_000,
      heldTokens: 0,
      credits: 5,
      resetsAt: '2026-04-10T12:00:00.000Z',
      upgradeUrl: 'http://tollgate.test/v1/plans',
    });
    expect(body).not.toHaveProperty('error');
    expect((await get(`/v1/users/${userId}/usage`)).body.availableTokens).toBe(10_000);
  });

  it('check says yes and no and changes nothing', async () => {
    const userId = await service.user();
    const ask = (more: object) =>
      call('POST', '/v1/credits/check', { as: keys.read, body: { userId, ...more } });
    expect((await ask({ credits: 5 })).body).toMatchObject({
      allowed: true,
      requiredTokens: 10_000,
      credits: 5,
    });
    expect((await ask({ tokens: 10_001 })).body).toMatchObject({ allowed: false, availableTokens: 10_000 });
  });

  it('refund gives back to the same grants, at most what was taken', async () => {
    const userId = await service.user();
    const { body: taken } = await consume(userId, { credits: 2 });
    const back = (body: object) =>
      call('POST', '/v1/credits/refund', {
        as: keys.consume,
        body: { entryId: taken.entryId, reason: 'r', ...body },
      });
    const { status, body } = await back({ tokens: 1000 });
    expect(status).toBe(200);
    expect(body).toMatchObject({ tokensRefunded: 1000, availableTokens: 7000, totalTokensUsed: 3000 });
    expect((await back({ tokens: 3001 })).status).toBe(409);
    expect((await back({})).body.availableTokens).toBe(10_000);
    expect((await back({})).body.code).toBe('conflict');
  });

  it('hold, capture less, and the rest is back; release gives all back', async () => {
    const userId = await service.user();
    const hold = () => call('POST', '/v1/credits/holds', { as: keys.consume, body: { userId, credits: 2 } });
    const settle = (id: string, how: string, body?: object) =>
      call('POST', `/v1/credits/holds/${id}/${how}`, { as: keys.consume, ...(body ? { body } : {}) });
    const held = await hold();
    expect(held.status).toBe(201);
    expect(held.body).toMatchObject({
      tokens: 4000,
      availableTokens: 6000,
      expiresAt: '2026-03-10T12:15:00.000Z',
    });
    const captured = await settle(held.body.holdId, 'capture', { tokens: 1500 });
    expect(captured.body).toMatchObject({ tokensUsed: 1500, availableTokens: 8500 });
    expect((await settle(held.body.holdId, 'capture', { tokens: 1 })).status).toBe(409);
    expect((await settle((await hold()).body.holdId, 'release')).body.availableTokens).toBe(8500);
    expect((await settle((await hold()).body.holdId, 'capture', { tokens: 0 })).body.tokensUsed).toBe(0);
    const above = await settle((await hold()).body.holdId, 'capture', { credits: 100 });
    expect([above.status, above.body.heldTokens]).toEqual([402, 4000]);
  });
});

describe('what an administrator does', () => {
  it('gives credits and voids them', async () => {
    const userId = await service.user();
    const given = await grant(userId, { credits: 3, expiresAt: '2026-05-01T00:00:00+02:00' });
    expect(given.status).toBe(201);
    expect(given.body).toMatchObject({
      tokens: 6000,
      source: 'bonus',
      expiresAt: '2026-04-30T22:00:00.000Z',
    });
    const path = `/v1/users/${userId}/grants/${given.body.grantId}/void`;
    const voided = await call('POST', path, { as: keys.admin, body: { reason: 'by mistake' } });
    expect(voided.body).toMatchObject({ remainingTokens: 0, voidedAt: expect.any(String) });
    expect((await call('POST', path, { as: keys.admin, body: { reason: 'again' } })).status).toBe(409);
    const { rows } = await service.context.pool.query(
      'select actor, action from audit_entries where user_id = $1',
      [userId],
    );
    expect(rows).toEqual([
      { actor: expect.stringMatching(/^apiKey:key_/), action: 'grant' },
      { actor: expect.stringMatching(/^apiKey:key_/), action: 'void' },
    ]);
  });

  it('changes a plan', async () => {
    const userId = await service.user();
    const change = (body: object) => call('POST', `/v1/users/${userId}/plan`, { as: keys.admin, body });
    expect((await change({ plan: 'pro', periodDays: 30 })).body).toMatchObject({ plan: 'pro', credits: 100 });
    expect((await change({ plan: 'pro' })).status).toBe(409);
    expect((await change({ plan: 'free', effective: 'period_end' })).body.plan).toBe('pro');
    expect((await change({ plan: 'free', effective: 'now' })).body).toMatchObject({ plan: 'free' });
  });

  it('shows the catalogue', async () => {
    const { body } = await get('/v1/plans');
    expect(
      body.plans.map(({ plan, creditsPerPeriod }: Record<string, unknown>) => [plan, creditsPerPeriod]),
    ).toEqual([
      ['free', 5],
      ['pro', 100],
      ['enterprise', 1000],
    ]);
  });
});

describe('Stripe', () => {
  it('502 with Retry-After where Stripe cannot be reached', async () => {
    const userId = await service.user();
    const { status, body, headers } = await call('POST', '/v1/billing/checkout', {
      as: keys.billing,
      body: { userId, plan: 'pro' },
    });
    expect([status, body.code]).toEqual([502, 'stripe_unavailable']);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
  });

  it('stores a signed event once, wakes its handler, and shows it to the operator', async () => {
    const event = {
      id: 'evt_http_1',
      object: 'event',
      type: 'invoice.paid',
      api_version: '2026-01-28',
      livemode: false,
      created: 1_772_000_000,
      data: { object: { id: 'in_1', object: 'invoice', customer: 'cus_1' } },
    };
    const raw = JSON.stringify(event, null, 2);
    const secret = service.context.config.stripe.webhookSecrets[0]!;
    const signature = service.context.stripe.webhooks.generateTestHeaderString({ payload: raw, secret });
    const deliver = () =>
      call('POST', '/webhooks/stripe', { raw, headers: { 'stripe-signature': signature } });
    for (let n = 0; n < 2; n++) {
      const { status, body } = await deliver();
      expect([status, body]).toEqual([200, { received: true }]);
    }
    expect(service.jobs.woken).toContainEqual({ name: 'handle-stripe-event', eventId: 'evt_http_1' });
    const list = await call('GET', '/v1/admin/stripe-events?status=pending', { as: keys.admin });
    expect(list.body.data).toMatchObject([{ id: 'evt_http_1', deliveries: 2, customerId: 'cus_1' }]);
    const one = await call('GET', '/v1/admin/stripe-events/evt_http_1', { as: keys.admin });
    expect(one.body).toMatchObject({ type: 'invoice.paid', objectId: 'in_1' });
    const replayed = await call('POST', '/v1/admin/stripe-events/evt_http_1/replay', { as: keys.admin });
    expect([replayed.status, replayed.body.status]).toEqual([200, 'pending']);
  });
});
