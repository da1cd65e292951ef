// Tokens by the keys that an issuer publishes.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { JWT_SECRET, signToken, startService, type TestService } from '../support/service.ts';

const pairs = { RS256: await generateKeyPair('RS256'), ES256: await generateKeyPair('ES256') };
let issuer: Server;
let service: TestService;
let isDown = false;

beforeAll(async () => {
  const keys = await Promise.all(
    Object.entries(pairs).map(async ([alg, { publicKey }]) => ({
      ...(await exportJWK(publicKey)),
      alg,
      kid: alg,
    })),
  );
  issuer = createServer((_request, response) => {
    response
      .writeHead(isDown ? 500 : 200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ keys }));
  });
  await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
  const { port } = issuer.address() as AddressInfo;
  const AUTH_JWKS_URL = `http://127.0.0.1:${port}/keys`;
  service = await startService({ environment: { AUTH_JWKS_URL, AUTH_JWT_SECRET: '' } });
});
afterAll(async () => {
  await service.close();
  issuer.close();
});

const usage = (as: string) => service.call('GET', '/api/user/usage', { as });
const sign = (alg: 'RS256' | 'ES256', kid: string = alg) =>
  new SignJWT({ sub: 'jwks-user' })
    .setProtectedHeader({ alg, kid })
    .setExpirationTime('1h')
    .sign(pairs[alg].privateKey);

describe('AUTH_JWKS_URL', () => {
  it('is 503 while the keys cannot be read, for they may be right', async () => {
    isDown = true;
    const { status, body, headers } = await usage(await sign('RS256'));
    expect([status, body.code]).toEqual([503, 'unavailable']);
    expect(headers.get('retry-after')).toBe('2');
    isDown = false;
  });

  it.each(['RS256', 'ES256'] as const)('takes %s', async (alg) => {
    expect((await usage(await sign(alg))).status).toBe(200);
  });

  it('refuses a key that is not published, and HS256 without a secret or with a public key for one', async () => {
    expect((await usage(await sign('RS256', 'unknown'))).status).toBe(401);
    expect((await usage(await signToken({ sub: 'u' }, JWT_SECRET))).status).toBe(401);
    const { n } = await exportJWK(pairs.RS256.publicKey);
    expect((await usage(await signToken({ sub: 'u' }, n))).status).toBe(401);
  });
});
