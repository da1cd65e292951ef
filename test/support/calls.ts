// One HTTP call, and the check that what came back is what the route table promises.
import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import supertest from 'supertest';
import { expect } from 'vitest';
import type { Route } from '../../src/http/route.ts';
import { routes } from '../../src/http/routes/index.ts';
import { problem } from '../../src/http/schemas/answers.ts';

export interface Call {
  /** API key or JWT. */
  as?: string | undefined;
  /** JSON. */
  body?: unknown;
  /** Sent as it is, instead of `body`. */
  raw?: string | Buffer;
  headers?: Record<string, string>;
  /** The Idempotency-Key; every POST gets a fresh one unless this is null. */
  key?: string | null;
  /** False for paths that are no route, or whose answer is meant to break the contract. */
  isChecked?: boolean;
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads any field and fails where it is not there
  body: any;
}

const METHODS = ['get', 'head', 'post', 'put', 'patch', 'delete', 'options'] as const;

function methodOf(method: string): (typeof METHODS)[number] {
  const known = METHODS.find((name) => name === method.toLowerCase());
  if (!known) throw new Error(`supertest sends no ${method}.`);
  return known;
}

/** The body as it came: whether it is JSON is for the test to say. */
function asText(response: unknown, done: (error: Error | null, text: string) => void): void {
  // superagent's types call it a Response; what it hands over is the stream.
  const stream = response as Readable;
  let text = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    text += chunk;
  });
  stream.on('end', () => done(null, text));
}

export async function call(
  base: string,
  method: string,
  path: string,
  { as, body, raw, headers = {}, key, isChecked = true }: Call = {},
): Promise<Answer> {
  const hasBody = raw !== undefined || body !== undefined;
  const idempotencyKey = key === undefined && method === 'POST' ? randomUUID() : key;
  const pending = supertest(base)
    [methodOf(method)](path)
    .redirects(0)
    .ok(() => true)
    .buffer(true)
    .parse(asText)
    .set({
      ...(as === undefined ? {} : { authorization: `Bearer ${as}` }),
      ...(hasBody ? { 'content-type': 'application/json' } : {}),
      ...(idempotencyKey ? { 'idempotency-key': idempotencyKey } : {}),
      ...headers,
    });
  const response = await (hasBody ? pending.send(raw ?? JSON.stringify(body)) : pending);
  const text = typeof response.body === 'string' ? response.body : '';
  const isJson = /json/.test(response.headers['content-type'] ?? '');
  const answer = {
    status: response.status,
    headers: new Headers(response.headers),
    text,
    body: isJson && text ? JSON.parse(text) : undefined,
  };
  if (isChecked && method !== 'HEAD') checkAnswer(method, path, answer);
  return answer;
}

/** Every answer has a request id; every error is a problem; every success has the shape of its route. */
export function checkAnswer(method: string, path: string, answer: Answer): void {
  const where = `${method} ${path} → ${answer.status} ${answer.text.slice(0, 300)}`;
  expect(answer.headers.get('x-request-id'), where).toMatch(/^[A-Za-z0-9._-]{1,128}$/);
  if (answer.status >= 400) {
    expect(answer.headers.get('content-type'), where).toBe('application/problem+json; charset=utf-8');
    problem.parse(answer.body);
    expect(answer.body.status, where).toBe(answer.status);
    expect(answer.body.requestId, where).toBe(answer.headers.get('x-request-id'));
    expect(answer.text, where).not.toMatch(/\bat .+:\d+:\d+|node_modules/);
  }
  const route = findRoute(method, path);
  const promised = route?.responses[answer.status];
  if (!route || (answer.status >= 400 && !promised)) return;
  expect(promised, `${where} is not among the responses of its route`).toBeDefined();
  const parsed = promised?.schema?.safeParse(promised.contentType === undefined ? answer.body : answer.text);
  if (parsed && !parsed.success) expect.fail(`${where}\n${parsed.error.message}`);
}

export function findRoute(method: string, path: string): Route | undefined {
  const [pathname = ''] = path.split('?');
  return routes.find(
    (route) =>
      route.method === method.toLowerCase() &&
      new RegExp(`^${route.path.replaceAll('/', '\\/').replace(/\{\w+\}/g, '[^/]+')}$`).test(pathname),
  );
}
