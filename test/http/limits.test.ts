// Rate limits, and what the log says.
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;
let lines = '';
beforeAll(async () => {
  const sink = new Writable({
    write(chunk, _encoding, done) {
      lines += chunk;
      done();
    },
  });
  service = await startService({
    environment: { RATE_LIMIT_USER_PER_MINUTE: '5', RATE_LIMIT_KEY_PER_SECOND: '20' },
    log: pino({ level: 'trace' }, sink),
  });
});
afterAll(() => service.close());

describe('rate limits', () => {
  it('an end user: 429 with Retry-After beyond its share, others go on', async () => {
    const as = await service.token('eager');
    for (let left = 4; left >= 0; left--) {
      const { status, headers } = await service.call('GET', '/api/user/usage', { as });
      expect(status).toBe(200);
      expect(headers.get('ratelimit-policy')).toBe('"user";q=5;w=60');
      expect(headers.get('ratelimit')).toMatch(new RegExp(`^"user";r=${left};t=\\d+$`));
    }
    const start = { as, body: { projectId: 'p' } };
    const { status, body, headers } = await service.call('POST', '/api/projects/start-workflow', start);
    expect([status, body.code]).toEqual([429, 'rate_limited']);
    expect(body.error).toBeUndefined();
    const reset = Number(/t=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1]);
    expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(reset);
    expect(headers.get('ratelimit')).toContain('r=0');
    const other = await service.token('patient');
    expect((await service.call('GET', '/api/user/usage', { as: other })).status).toBe(200);
  });

  it('an API key: its share per second', async () => {
    const ask = (as: string) => service.call('GET', '/v1/plans', { as });
    const many = await Promise.all(Array.from({ length: 60 }, () => ask(service.keys.read)));
    const statuses = many.map(({ status }) => status);
    expect(statuses).toContain(200);
    expect(statuses).toContain(429);
    expect((await ask(service.keys.billing)).status).toBe(200);
  });

  it('failed authentication: 429 after 1,000 a minute, and a right key still passes', async () => {
    let status = 401;
    let tries = 0;
    while (status === 401 && tries < 1_200) {
      const batch = await Promise.all(
        Array.from({ length: 50 }, () =>
          fetch(`${service.url}/v1/plans`, { headers: { authorization: 'Bearer x' } }),
        ),
      );
      for (const response of batch) await response.arrayBuffer();
      status = batch.at(-1)?.status ?? 0;
      tries += batch.length;
    }
    expect(status).toBe(429);
    expect(tries).toBeGreaterThanOrEqual(1_000);
    expect((await service.call('GET', '/v1/plans', { as: service.keys.billing })).status).toBe(200);
  });
});

describe('log', () => {
  it('has a line per request, with its id, and no secret of anybody', async () => {
    const { keys } = service;
    const as = await service.token('logged');
    const headers = { cookie: 'session=cookie-secret', 'x-request-id': 'log-test-1' };
    const email = 'person@example.test';
    await service.call('GET', `/api/user/usage?token=query-secret`, { as, headers });
    await service.call('POST', '/v1/users', {
      as: keys.admin,
      body: { userId: 'logged', email, name: 'Person' },
    });
    const made = await service.call('POST', '/v1/admin/api-keys', {
      as: keys.admin,
      body: { name: 'l', scopes: ['read'] },
    });
    await service.call('GET', `/v1/users/${made.body.key}`, { as: keys.admin });
    await service.call('POST', '/webhooks/stripe', {
      raw: '{}',
      headers: { 'stripe-signature': 't=1,v1=signature-secret' },
    });
    await service.call('POST', '/v1/credits/consume', { as: keys.consume, raw: `{"email":"${email}",` });
    // Ends in a 500, whose error goes to the log.
    const { db } = service.context;
    const original = db.apiKey.findMany;
    Object.assign(db.apiKey, {
      findMany: () =>
        Promise.reject(
          Object.assign(new Error(`it broke with ${keys.admin}`), { headers: { authorization: as } }),
        ),
    });
    const broken = await service.call('GET', '/v1/admin/api-keys', { as: keys.admin });
    Object.assign(db.apiKey, { findMany: original });
    expect([broken.status, broken.body.code]).toEqual([500, 'internal_error']);
    expect(broken.text).not.toContain('broke');

    expect(lines).toContain('"id":"log-test-1"');
    expect(lines).toContain('it broke with');
    const secrets = [
      'cookie-secret',
      'query-secret',
      'signature-secret',
      email,
      as,
      made.body.key,
      ...Object.values(keys),
    ];
    for (const secret of secrets) expect(lines.includes(secret), secret).toBe(false);
    for (const key of Object.values(keys)) expect(lines).not.toContain(key.slice(-43));
  });
});
