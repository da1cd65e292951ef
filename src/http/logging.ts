/** One log line per request, without anything that would let a reader act for somebody else. */
import { randomBytes } from 'node:crypto';
import type { Request, RequestHandler, Response } from 'express';
import type { Logger } from 'pino';

const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** Ids of ours stand in every entry of the ledger, so they are short: one part for the process, one for the request. */
const PROCESS_ID = randomBytes(6).toString('base64url').replaceAll('_', '.');
let requests = 0;

function newRequestId(): string {
  requests++;
  return `${PROCESS_ID}-${requests.toString(36)}`;
}

/** The caller's own id where it sent a sane one, so that its log and ours can be read together. */
export function requestIdOf(header: string | string[] | undefined): string {
  return typeof header === 'string' && REQUEST_ID.test(header) ? header : newRequestId();
}

/**
 * Headers, bodies and query strings are not logged in the first place; these paths are for what an error carries
 * along (Stripe's errors have headers, PostgreSQL's have rows).
 */
const REDACTED_PATHS = [
  'req.headers.authorization',
  'req.headers.cookie',
  'req.headers["stripe-signature"]',
  '*.authorization',
  '*.cookie',
  '*.email',
  '*.key',
  '*.secret',
  'err.headers',
  'err.raw',
  'err.detail',
  'err.where',
  'err.parameters',
];

/** Keys of ours and of Stripe, and tokens, wherever in a text they turn up. */
const SECRETS = /\b(tg_(?:test|live)_[0-9a-f]+_|[sr]k_(?:test|live)_|whsec_|eyJ)[A-Za-z0-9_.+/=-]+/g;

function withoutSecrets(value: unknown): unknown {
  return typeof value === 'string' ? value.replace(SECRETS, '$1…') : value;
}

declare global {
  namespace Express {
    interface Request {
      id: string;
      /** By `performance.now()`. */
      startedMs: number;
      /** For what goes wrong on the way. */
      log: Logger;
    }
  }
}

/**
 * Sets `id` and `log` of each request, and writes its line when it is over.
 * @param observe told of each as well
 */
export function requestLogger(
  log: Logger,
  observe: (request: Request, response: Response, seconds: number) => void,
): RequestHandler {
  const failures = log.child(
    {},
    { redact: { paths: REDACTED_PATHS, censor: '[redacted]' }, serializers: { err: errorView } },
  );
  // Of these lines we write every field, so there is nothing to redact: a third of what a line costs.
  const lines = log.child({}, { redact: [] });
  // One function for all of them: a listener of its own for each request would cost more than the line.
  function writeLine(this: Response): void {
    const { req, statusCode: status } = this;
    const tookMs = performance.now() - req.startedMs;
    observe(req, this, tookMs / 1000);
    const line = { req: requestView(req), res: { status }, responseTime: Math.round(tookMs) };
    if (status >= 500) lines.error(line, 'request errored');
    else lines.info(line, this.writableFinished ? 'request completed' : 'request aborted');
  }
  return (request, response, next) => {
    request.startedMs = performance.now();
    request.id = requestIdOf(request.headers['x-request-id']);
    response.head = ['X-Request-Id', request.id];
    request.log = failures;
    response.on('close', writeLine);
    next();
  };
}

/** What a line says of its request. */
export function requestView({ id, method, originalUrl, socket }: Request): Record<string, unknown> {
  const path = withoutSecrets(originalUrl.split('?', 1)[0]);
  return { id, method, path, remoteAddress: socket.remoteAddress };
}

/** The kind, the words and where; of a database's or Stripe's own fields only its code. */
function errorView(error: unknown): unknown {
  if (!(error instanceof Error)) return withoutSecrets(String(error));
  const { code, cause } = error as Error & { code?: unknown };
  return {
    type: error.name,
    message: withoutSecrets(error.message),
    stack: withoutSecrets(error.stack),
    ...(code === undefined ? {} : { code: withoutSecrets(code) }),
    ...(cause === undefined ? {} : { cause: errorView(cause) }),
  };
}
