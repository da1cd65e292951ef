/** One log line per request, without anything that would let a reader act for somebody else. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { type HttpLogger, pinoHttp } from 'pino-http';

const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** The caller's own id where it sent a sane one, so that its log and ours can be read together. */
export function requestIdOf(header: string | string[] | undefined): string {
  return typeof header === 'string' && REQUEST_ID.test(header) ? header : randomUUID();
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

export function requestLogger(log: Logger): HttpLogger<IncomingMessage, ServerResponse> {
  const logger = log.child({}, { redact: { paths: REDACTED_PATHS, censor: '[redacted]' } });
  return pinoHttp({
    logger,
    genReqId: (request, response) => {
      const id = requestIdOf(request.headers['x-request-id']);
      response.setHeader('X-Request-Id', id);
      return id;
    },
    wrapSerializers: false,
    serializers: {
      req: (request: IncomingMessage & { originalUrl?: string }) => ({
        id: request.id,
        method: request.method,
        path: withoutSecrets((request.originalUrl ?? request.url ?? '').split('?', 1)[0]),
        remoteAddress: request.socket.remoteAddress,
      }),
      res: (response: ServerResponse) => ({ status: response.statusCode }),
      err: errorView,
    },
    customLogLevel: (_request, response, error) => (error || response.statusCode >= 500 ? 'error' : 'info'),
  });
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
