// Who may call what: every route of the table with every kind of credential.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { routes } from '../../src/http/routes/index.ts';
import { signToken, startService, type TestService } from '../support/service.ts';

let service: TestService;
const credentials: Record<string, string | undefined> = {};

beforeAll(async () => {
  service = await startService();
  const { call, keys } = service;
  const made = await call('POST', '/v1/admin/api-keys', {
    as: keys.admin,
    body: { name: 'r', scopes: ['admin'] },
  });
  await call('DELETE', `/v1/admin/api-keys/${made.body.id}`, { as: keys.admin });
  Object.assign(credentials, {
    ...keys,
    nothing: undefined,
    garbage: 'garbage',
    revoked: made.body.key,
    'wrong secret': keys.admin.slice(0, -4) + (keys.admin.endsWith('AAAA') ? 'BBBB' : 'AAAA'),
    'live key': keys.admin.replace('tg_test_', 'tg_live_'),
    user: await service.token('auth-user'),
  });
});
afterAll(() => service.close());

const ALL = ['consume', 'read', 'billing', 'admin', 'backend'];

/** Who gets past authentication and scopes. A route that is not named here has no policy, and fails. */
const POLICY: Record<string, string[]> = {
  'POST /v1/credits/consume': ['consume', 'admin', 'backend'],
  'POST /v1/credits/consume/batch': ['consume', 'admin', 'backend'],
  'POST /v1/credits/check': ['consume', 'read', 'admin', 'backend'],
  'POST /v1/credits/refund': ['consume', 'admin', 'backend'],
  'POST /v1/credits/holds': ['consume', 'admin', 'backend'],
  'POST /v1/credits/holds/{holdId}/capture': ['consume', 'admin', 'backend'],
  'POST /v1/credits/holds/{holdId}/release': ['consume', 'admin', 'backend'],
  'GET /api/user/usage': ['user'],
  'POST /api/projects/start-workflow': ['user'],
  'POST /api/review/generate': ['user'],
  'GET /api/workflows/{id}': ['user'],
  'POST /v1/users': ['consume', 'admin', 'backend'],
  'GET /v1/users/{userId}': ['read', 'admin', 'backend'],
  'GET /v1/users/{userId}/usage': ['read', 'admin', 'backend'],
  'GET /v1/users/{userId}/ledger': ['read', 'admin', 'backend'],
  'GET /v1/users/{userId}/ledger/{entryId}': ['read', 'admin', 'backend'],
  'GET /v1/users/{userId}/grants': ['read', 'admin', 'backend'],
  'GET /v1/users/{userId}/subscription': ['read', 'admin', 'backend'],
  'DELETE /v1/users/{userId}/profile': ['consume', 'admin', 'backend'],
  'POST /v1/users/{userId}/grants': ['admin'],
  'POST /v1/users/{userId}/grants/{grantId}/void': ['admin'],
  'POST /v1/users/{userId}/plan': ['admin'],
  'GET /v1/plans': ALL,
  'POST /v1/billing/checkout': ['billing', 'admin', 'backend'],
  'POST /v1/billing/checkout/{sessionId}/confirm': ['billing', 'admin', 'backend'],
  'POST /v1/billing/portal': ['billing', 'admin', 'backend'],
  'POST /v1/billing/preview': ['billing', 'admin', 'backend'],
  'POST /v1/billing/change': ['billing', 'admin', 'backend'],
  'POST /v1/billing/cancel': ['billing', 'admin', 'backend'],
  'POST /v1/billing/resume': ['billing', 'admin', 'backend'],
  'GET /v1/admin/stripe-events': ['admin'],
  'POST /v1/admin/stripe-events/backfill': ['admin'],
  'GET /v1/admin/stripe-events/{id}': ['admin'],
  'POST /v1/admin/stripe-events/{id}/replay': ['admin'],
  'GET /v1/admin/metrics': ['admin'],
  'POST /v1/finance/reconciliations': ['admin'],
  'GET /v1/finance/reconciliations': ['admin'],
  'GET /v1/finance/reconciliations/{runId}': ['admin'],
  'GET /v1/finance/reconciliations/{runId}/differences': ['admin'],
  'GET /v1/finance/reconciliations/{runId}/differences.csv': ['admin'],
  'POST /v1/finance/reconciliations/{runId}/differences/{id}/repair': ['admin'],
  'GET /v1/finance/close/{month}.csv': ['admin'],
  'GET /v1/finance/close/{month}': ['admin'],
  'POST /v1/admin/api-keys': ['admin'],
  'GET /v1/admin/api-keys': ['admin'],
  'DELETE /v1/admin/api-keys/{id}': ['admin'],
  'POST /webhooks/stripe': ['anyone'],
  'GET /healthz': ['anyone'],
  'GET /readyz': ['anyone'],
  'GET /metrics': ['anyone'],
};

describe('authorization matrix', () => {
  it.each(routes.map((route) => [`${route.method.toUpperCase()} ${route.path}`, route] as const))(
    '%s',
    async (name, route) => {
      const allowed = POLICY[name];
      expect(allowed, 'has no policy in this test').toBeDefined();
      const path = route.path.replace(/\{\w+\}/g, 'nobody');
      for (const [kind, as] of Object.entries(credentials)) {
        // A field that no route has: who gets through meets a 400 (or 404) and changes nothing.
        const body = route.method === 'post' ? { body: { unknownField: 1 } } : {};
        const answer = await service.call(route.method.toUpperCase(), path, { as, ...body });
        const isKnown = ALL.includes(kind);
        const isRightKind = route.auth.kind === 'apiKey' ? isKnown : kind === 'user';
        if (allowed?.includes('anyone') || allowed?.includes(kind)) {
          expect([401, 403], `${kind} on ${name}`).not.toContain(answer.status);
        } else {
          expect(answer.status, `${kind} on ${name}`).toBe(isRightKind ? 403 : 401);
          expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer realm="tollgate"/);
        }
      }
    },
  );

  it('has no policy for a route that is not there', () => {
    const names = routes.map((route) => `${route.method.toUpperCase()} ${route.path}`);
    expect(Object.keys(POLICY).filter((name) => !names.includes(name))).toEqual([]);
  });
});

describe('tokens of end users', () => {
  const seconds = (offset: number) => Math.floor(Date.now() / 1000) + offset;
  const usage = (as: string | undefined) => service.call('GET', '/api/user/usage', { as });

  it.each<[string, Record<string, unknown>, (string | undefined)?, string?]>([
    ['without exp', { sub: 'u', exp: undefined }],
    ['expired', { sub: 'u', exp: seconds(-1) }],
    ['not valid yet', { sub: 'u', nbf: seconds(60) }],
    ['without sub', {}],
    ['with an empty sub', { sub: '' }],
    ['with a sub of 256 characters', { sub: 'x'.repeat(256) }],
    ['with a space in sub', { sub: 'a b' }],
    ['with a sub that is no text', { sub: 42 }],
    ['with a sub beyond ASCII', { sub: 'usér' }],
    ['with NUL in sub', { sub: 'u\0' }],
    ['signed with another secret', { sub: 'u' }, 'another-secret-of-at-least-32-characters'],
    ['signed with another algorithm', { sub: 'u' }, undefined, 'HS512'],
  ])('401: %s', async (_name, claims, secret, algorithm) => {
    const { status, body, headers } = await usage(await signToken(claims, secret, algorithm));
    expect([status, body.code]).toEqual([401, 'unauthenticated']);
    expect(headers.get('www-authenticate')).toContain('error="invalid_token"');
  });

  it('401: unsigned', async () => {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const unsigned = `${part({ alg: 'none' })}.${part({ sub: 'u', exp: seconds(60) })}.`;
    expect((await usage(unsigned)).status).toBe(401);
  });

  it('401: Basic, and Bearer without a token', async () => {
    for (const authorization of ['Basic dTpw', 'Bearer', 'Bearer  ', 'Token abc']) {
      const { status } = await service.call('GET', '/api/user/usage', { headers: { authorization } });
      expect(status).toBe(401);
    }
  });

  it('takes a sub of 255 characters and issuer and audience where they are asked for', async () => {
    expect((await usage(await service.token('x'.repeat(255)))).status).toBe(200);
    const strict = await startService({
      environment: { AUTH_JWT_ISSUER: 'https://app.test', AUTH_JWT_AUDIENCE: 'tollgate' },
    });
    try {
      const status = async (claims: Record<string, unknown>) =>
        (await strict.call('GET', '/api/user/usage', { as: await strict.token('u', claims) })).status;
      expect(await status({ iss: 'https://app.test', aud: 'tollgate' })).toBe(200);
      expect(await status({ iss: 'https://other.test', aud: 'tollgate' })).toBe(401);
      expect(await status({ iss: 'https://app.test', aud: 'other' })).toBe(401);
      expect(await status({})).toBe(401);
    } finally {
      await strict.close();
    }
  });
});

describe('API keys', () => {
  it('shows the key once, keeps its hash only, and several live at once until they are revoked', async () => {
    const { call, keys } = service;
    const body = { name: 'rotation', scopes: ['read'] };
    const first = await call('POST', '/v1/admin/api-keys', { as: keys.admin, body });
    const second = await call('POST', '/v1/admin/api-keys', { as: keys.admin, body });
    expect(first.status).toBe(201);
    expect(first.body.key).toMatch(/^tg_test_[0-9a-f]{16}_[\w-]{43}$/);
    const secret = first.body.key.slice(first.body.prefix.length + 1);
    const list = await call('GET', '/v1/admin/api-keys', { as: keys.admin });
    expect(list.text).not.toContain(secret);
    expect(list.body.data[0]).toMatchObject({ id: second.body.id, name: 'rotation', revokedAt: null });
    const stored = await service.context.pool.query('select * from api_keys where id = $1', [first.body.id]);
    expect(JSON.stringify(stored.rows)).not.toContain(secret);

    expect((await call('GET', '/v1/plans', { as: first.body.key })).status).toBe(200);
    const revoke = await call('DELETE', `/v1/admin/api-keys/${first.body.id}`, { as: keys.admin });
    expect([revoke.status, revoke.text]).toEqual([204, '']);
    expect((await call('GET', '/v1/plans', { as: first.body.key })).status).toBe(401);
    expect((await call('GET', '/v1/plans', { as: second.body.key })).status).toBe(200);
  });

  it('a paid plan at signup takes more than the scope consume', async () => {
    const { call, keys } = service;
    const body = { userId: 'auth-paid', plan: 'pro' };
    expect((await call('POST', '/v1/users', { as: keys.consume, body })).status).toBe(403);
    expect((await call('POST', '/v1/users', { as: keys.backend, body })).status).toBe(201);
  });
});
