// What holds on every route: the document, the form of errors, request ids, headers.
import { createRequire } from 'node:module';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../../src/errors.ts';
import { openApiDocument } from '../../src/http/openapi.ts';
import { routes } from '../../src/http/routes/index.ts';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;
let call: TestService['call'];
beforeAll(async () => {
  service = await startService();
  ({ call } = service);
});
afterAll(() => service.close());

interface Operation {
  operationId: string;
  security: Record<string, string[]>[];
  parameters?: { name: string; in: string; required?: boolean }[];
  requestBody?: { required: boolean };
  responses: Record<string, { description: string; content?: Record<string, { schema: { $ref?: string } }> }>;
}

describe('OpenAPI', () => {
  it('lists exactly the route table, each with its credential, its key and its errors', async () => {
    const { status, body } = await call('GET', '/openapi.json');
    expect(status).toBe(200);
    expect(body.openapi).toBe('3.1.0');
    const paths = Object.entries(body.paths as Record<string, Record<string, Operation>>);
    const listed = paths.flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    );
    expect(listed.sort()).toEqual(routes.map(({ method, path }) => `${method} ${path}`).sort());
    for (const route of routes) {
      const name = `${route.method} ${route.path}`;
      const operation = body.paths[route.path][route.method] as Operation;
      const scheme = { apiKey: ['apiKey'], user: ['userToken'], none: [] }[route.auth.kind];
      expect(operation.security.flatMap(Object.keys), name).toEqual(scheme);
      const key = operation.parameters?.find((each) => each.name === 'idempotency-key');
      expect(key && (key.required ? 'required' : 'optional'), name).toBe(
        route.idempotency === 'none' ? undefined : route.idempotency,
      );
      const inPath = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter);
      const documented =
        operation.parameters?.filter((each) => each.in === 'path').map((each) => each.name) ?? [];
      expect(documented, name).toEqual(inPath);
      for (const [code, response] of Object.entries(operation.responses)) {
        if (Number(code) >= 400)
          expect(Object.keys(response.content ?? {}), name).toEqual(['application/problem+json']);
      }
      if (route.auth.kind !== 'none') expect(operation.responses, name).toHaveProperty('401');
    }
  });

  it('has a name of its own for every operation, and every reference leads somewhere', () => {
    const document = openApiDocument(service.context.config, routes);
    const ids = Object.values(document.paths ?? {}).flatMap((methods) =>
      Object.values(methods as Record<string, Operation>).map(({ operationId }) => operationId),
    );
    expect(new Set(ids).size).toBe(ids.length);
    const text = JSON.stringify(document);
    const schemas = Object.keys(document.components?.schemas ?? {});
    for (const [, name] of text.matchAll(/"#\/components\/schemas\/(\w+)"/g)) expect(schemas).toContain(name);
  });

  it('is a valid OpenAPI 3.1 document as far as its own rules can be read here', () => {
    const document = JSON.parse(JSON.stringify(openApiDocument(service.context.config, routes)));
    expect(document.info).toMatchObject({ title: expect.any(String), version: expect.any(String) });
    for (const [path, item] of Object.entries<Record<string, Operation>>(document.paths)) {
      expect(path).toMatch(/^\//);
      for (const operation of Object.values(item)) {
        expect(Object.keys(operation.responses).every((code) => /^[1-5]\d\d$/.test(code))).toBe(true);
        for (const response of Object.values(operation.responses))
          expect(response.description).toEqual(expect.any(String));
        for (const parameter of operation.parameters ?? []) {
          if (parameter.in === 'path') expect(parameter.required).toBe(true);
        }
      }
    }
  });
});

describe('reference page', () => {
  it('loads from this server alone, within its own CSP', async () => {
    const page = await call('GET', '/docs');
    expect(page.headers.get('content-type')).toContain('text/html');
    const sources = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, source]) => source ?? '');
    expect(sources.length).toBeGreaterThanOrEqual(4);
    expect(page.text).not.toMatch(/<script>|<style|onload=/);
    for (const source of sources) {
      expect(source).toMatch(/^\/docs\//);
      expect((await call('GET', source)).status).toBe(200);
    }
    const csp = page.headers.get('content-security-policy') ?? '';
    expect(csp).toContain("script-src 'self'");
    expect(csp).toContain("form-action 'self' https://checkout.stripe.com https://billing.stripe.com");
    expect(csp).not.toContain('upgrade-insecure-requests');
  });

  it('serves nothing of the package but what the page needs', async () => {
    expect(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json')).toBeTruthy();
    for (const name of [
      'package.json',
      'index.html',
      'swagger-ui.js',
      '..%2fpackage.json',
      '%2e%2e/package.json',
    ]) {
      expect((await call('GET', `/docs/${name}`)).status).toBe(404);
    }
  });

  it('explains every code where the type of its problem points', async () => {
    for (const [code, { title }] of Object.entries(ERROR_CODES)) {
      const { status, text } = await call('GET', `/docs/errors/${code}`);
      expect([status, text.includes(title)]).toEqual([200, true]);
    }
    expect((await call('GET', '/docs/errors/constructor')).status).toBe(404);
    const { body } = await call('GET', '/v1/users/x');
    expect(body.type).toBe('http://tollgate.test/docs/errors/unauthenticated');
  });
});

describe('errors of the framework', () => {
  it.each([
    ['unknown path', 'GET', '/nothing/here', 404, 'not_found'],
    ['root', 'GET', '/', 404, 'not_found'],
    ['other case', 'GET', '/V1/plans', 404, 'not_found'],
    ['broken percent-encoding', 'GET', '/v1/users/%ff', 400, 'invalid_request'],
    ['unknown method on a known path', 'PUT', '/v1/credits/consume', 405, 'method_not_allowed'],
    ['GET where only POST is', 'GET', '/v1/credits/consume', 405, 'method_not_allowed'],
    ['DELETE of the webhook', 'DELETE', '/webhooks/stripe', 405, 'method_not_allowed'],
    ['PATCH of a user', 'PATCH', '/v1/users/u', 405, 'method_not_allowed'],
    ['POST of the document', 'POST', '/openapi.json', 405, 'method_not_allowed'],
  ])('%s', async (_name, method, path, status, code) => {
    const answer = await call(method, path);
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(answer.body.instance).toBe(path);
    if (status === 405) expect(answer.headers.get('allow')).toMatch(/OPTIONS/);
  });

  it('OPTIONS says what is possible, HEAD answers like GET without a body', async () => {
    const options = await call('OPTIONS', '/v1/admin/api-keys');
    expect([options.status, options.headers.get('allow')]).toEqual([204, 'POST, GET, HEAD, OPTIONS']);
    const head = await call('HEAD', '/healthz');
    expect([head.status, head.text]).toEqual([200, '']);
    expect((await call('HEAD', '/v1/plans')).status).toBe(401);
    expect((await call('HEAD', '/v1/credits/consume')).status).toBe(405);
  });
});

describe('headers', () => {
  it.each(['abc', 'A-b_c.9', 'x'.repeat(128)])("keeps the caller's request id %s", async (id) => {
    const { headers } = await call('GET', '/healthz', { headers: { 'x-request-id': id } });
    expect(headers.get('x-request-id')).toBe(id);
  });

  it.each(['a b', 'x'.repeat(129), 'a\tb', '{"a":1}', 'é'])(
    'makes its own where the id is %o',
    async (id) => {
      const { headers, body } = await call('GET', '/nothing', { headers: { 'x-request-id': id } });
      expect(headers.get('x-request-id')).toMatch(/^[A-Za-z0-9.-]{8}-[0-9a-z]+$/);
      expect(body.requestId).toBe(headers.get('x-request-id'));
    },
  );

  it('tells no more of the server than it must and lets nobody cache', async () => {
    const { headers } = await call('GET', '/v1/plans', { as: service.keys.read });
    expect(headers.get('x-powered-by')).toBeNull();
    expect(headers.get('etag')).toBeNull();
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('strict-transport-security')).toBeNull();
    expect(headers.get('content-type')).toBe('application/json; charset=utf-8');
  });
});
