import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { testClockOfRequest } from '../clock-owner.ts';
import { invalid, StripeError } from '../errors.ts';
import { newId } from '../ids.ts';
import { API_VERSION, type World } from '../world.ts';
import { expanded } from './expand.ts';
import { type Fault, type Faults, toldToFail } from './faults.ts';
import { decodeForm } from './form.ts';
import type { IdempotencyKeys, StoredAnswer } from './idempotency.ts';
import { readBody, send } from './message.ts';
import { findRoute } from './routes.ts';

export interface ApiContext {
  world: World;
  keys: IdempotencyKeys;
  faults: Faults;
  onError: (error: unknown) => void;
  /** Runs what has fallen due, so that no request sees a past that should have changed. */
  catchUp: () => void;
  /** With `beforeResponse`, waits until what the request caused has been delivered. */
  beforeResponse: (requestId: string) => Promise<void>;
}

interface Request {
  id: string;
  method: string;
  path: string;
  raw: Record<string, unknown>;
  idempotencyKey: string | null;
  version: string | null;
}

/** `Authorization: Bearer sk_test_…`, or Basic with the key as user name. */
function authenticate(header: string | undefined): void {
  const [scheme = '', credentials = ''] = (header ?? '').split(' ');
  const basic = scheme.toLowerCase() === 'basic';
  const key = basic ? (Buffer.from(credentials, 'base64').toString('utf8').split(':')[0] ?? '') : credentials;
  if (key === '')
    throw new StripeError(
      401,
      'invalid_request_error',
      "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details.",
    );
  if (!/^(?:sk|rk)_test_\w+$/.test(key)) {
    const shown =
      key.length <= 12
        ? '*'.repeat(key.length)
        : `${key.slice(0, 8)}${'*'.repeat(key.length - 12)}${key.slice(-4)}`;
    throw new StripeError(401, 'invalid_request_error', `Invalid API Key provided: ${shown}`);
  }
}

function expandPaths(raw: unknown): string[] {
  if (raw === undefined) return [];
  if (Array.isArray(raw) && raw.every((one) => typeof one === 'string')) return raw;
  throw invalid('Invalid array', { param: 'expand' });
}

/** Handlers are synchronous: between the first change and the answer nothing else can run. */
function execute(context: ApiContext, request: Request): StoredAnswer {
  const { world } = context;
  const found = findRoute(request.method, request.path);
  if (found === undefined)
    throw new StripeError(
      404,
      'invalid_request_error',
      `Unrecognized request URL (${request.method}: ${request.path}). If you are trying to list objects, remove the trailing slash. If you are trying to retrieve an object, make sure you passed a valid (non-empty) identifier in your code. Please see https://stripe.com/docs or we can help at https://support.stripe.com/.`,
    );
  const { expand, ...raw } = request.raw;
  const paths = expandPaths(expand);
  const run = found.route.prepare(raw);
  const [id = '', subId = ''] = found.ids;
  const reads = request.method === 'GET';
  const testClock = testClockOfRequest(world.state, request.path, raw);
  if (!reads) refuseWhileAdvancing(world, testClock);
  world.request = reads ? null : { id: request.id, idempotencyKey: request.idempotencyKey };
  const call = { world, id, subId, path: request.path, version: request.version };
  try {
    const object = world.within(testClock, () => expanded(world, run(call), paths));
    return { status: 200, body: JSON.stringify(object, null, 2) };
  } catch (error) {
    return errorAnswer(context, request, error);
  } finally {
    world.request = null;
    if (!reads) world.touched();
  }
}

/** While a test clock runs, its objects belong to it (https://docs.stripe.com/billing/testing/test-clocks). */
function refuseWhileAdvancing(world: World, testClock: string | null): void {
  if (testClock !== null && world.state.testClocks.get(testClock)?.status === 'advancing')
    throw new StripeError(
      429,
      'invalid_request_error',
      'Test clock advancement underway - cannot perform modifications',
      { code: 'lock_timeout' },
    );
}

function errorAnswer(context: ApiContext, request: Request, error: unknown): StoredAnswer {
  const known = error instanceof StripeError;
  if (!known) context.onError(error);
  const shown = known ? error : new StripeError(500, 'api_error', 'An unknown error occurred');
  return { status: shown.status, body: JSON.stringify(shown.body(request.id, context.world.now()), null, 2) };
}

function answerOnce(
  context: ApiContext,
  request: Request,
  fault: Fault,
): StoredAnswer & { replayed: boolean } {
  const key = request.method === 'POST' ? request.idempotencyKey : null;
  const run = (): StoredAnswer => {
    const done = execute(context, request);
    return fault.failsAfterCommit ? errorAnswer(context, request, toldToFail()) : done;
  };
  if (key === null) return { ...run(), replayed: false };
  try {
    const answer = run();
    context.keys.store(key, { status: answer.status, body: answer.body });
    return { ...answer, replayed: false };
  } catch (error) {
    context.keys.release(key);
    throw error;
  }
}

async function answer(
  context: ApiContext,
  request: Request,
  fault: Fault,
): Promise<StoredAnswer & { replayed: boolean }> {
  const key = request.method === 'POST' ? request.idempotencyKey : null;
  const claimed =
    key === null
      ? null
      : context.keys.claim(key, { path: request.path, params: request.raw }, context.world.clock.now());
  if (claimed !== null) return { ...claimed, replayed: true };
  if (fault.latencyMs > 0) await sleep(fault.latencyMs);
  if (fault.refusal !== null) {
    if (key !== null) context.keys.release(key);
    throw fault.refusal;
  }
  context.catchUp();
  const answered = answerOnce(context, request, fault);
  await context.beforeResponse(request.id);
  return answered;
}

export async function handleApi(
  context: ApiContext,
  message: IncomingMessage,
  response: ServerResponse,
  url: URL,
): Promise<void> {
  const { 'idempotency-key': keyHeader, 'stripe-version': versionHeader } = message.headers;
  const idempotencyKey = typeof keyHeader === 'string' && keyHeader !== '' ? keyHeader : null;
  const version = typeof versionHeader === 'string' ? versionHeader : null;
  const request: Request = {
    id: newId('req', 14),
    method: message.method ?? 'GET',
    path: url.pathname,
    raw: {},
    idempotencyKey,
    version,
  };
  const fault = context.faults.draw();
  const headers: Record<string, string> = {
    'Request-Id': request.id,
    'Stripe-Version': version ?? API_VERSION,
    ...(idempotencyKey === null ? {} : { 'Idempotency-Key': idempotencyKey, 'Original-Request': request.id }),
  };
  const body = await readBody(message);
  try {
    authenticate(message.headers.authorization);
    // The SDK sends DELETE parameters in the query, the CLI in the body.
    request.raw = { ...decodeForm(url.search.slice(1)), ...decodeForm(body) };
    const { status, body: text, replayed } = await answer(context, request, fault);
    if (fault.resetsAfterCommit) {
      message.socket.destroy();
      return;
    }
    if (replayed) headers['Idempotent-Replayed'] = 'true';
    send(response, status, 'application/json', text, headers);
  } catch (error) {
    const { status, body } = errorAnswer(context, request, error);
    send(response, status, 'application/json', body, { ...headers, ...retryHeader(status) });
  }
}

/** What stripe-node obeys before its own judgement: without it, it would not try a 429 again. */
function retryHeader(status: number): Record<string, string> {
  return status === 429 || status === 409 ? { 'Stripe-Should-Retry': 'true' } : {};
}
