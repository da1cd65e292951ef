/** What a failure of Express, PostgreSQL, Prisma or Stripe means to the caller. */
import Stripe from 'stripe';
import { type FieldError, TollgateError } from '../errors.ts';

const RETRY_AFTER_SECONDS = 2;

interface Failure {
  name: string;
  message: string;
  /** SQLSTATE, errno name or Prisma code. */
  code: string;
  /** body-parser's name of the fault. */
  type: string;
  status: number | undefined;
}

export function translateError(thrown: unknown): TollgateError {
  if (thrown instanceof TollgateError) return thrown;
  const failure = failureOf(thrown);
  return (
    fromStripe(thrown) ??
    fromFramework(failure, thrown) ??
    fromDatabase(failure, thrown) ??
    new TollgateError(
      'internal_error',
      'The request failed for a reason that is ours. Its requestId leads to the log.',
      {
        cause: thrown,
      },
    )
  );
}

function failureOf(thrown: unknown): Failure {
  const object = typeof thrown === 'object' && thrown !== null ? (thrown as Record<string, unknown>) : {};
  const text = (name: string): string => (typeof object[name] === 'string' ? object[name] : '');
  return {
    name: text('name'),
    message: text('message'),
    code: text('code'),
    type: text('type'),
    status: typeof object.status === 'number' ? object.status : undefined,
  };
}

/** Stripe's own failures, and those of our credential there: nothing that the caller could put right. */
const STRIPE_FAILURES = [
  Stripe.errors.StripeConnectionError,
  Stripe.errors.StripeAPIError,
  Stripe.errors.StripeRateLimitError,
  Stripe.errors.StripeAuthenticationError,
  Stripe.errors.StripePermissionError,
];

function fromStripe(thrown: unknown): TollgateError | undefined {
  if (!STRIPE_FAILURES.some((kind) => thrown instanceof kind)) return undefined;
  return new TollgateError('stripe_unavailable', 'Stripe did not answer as it should: try again later.', {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
    cause: thrown,
  });
}

function invalid(path: string, message: string, cause: unknown): TollgateError {
  const errors: FieldError[] = [{ path, message }];
  return new TollgateError('invalid_request', `${path}: ${message}`, { errors, cause });
}

/** Errors that Express and body-parser throw before a route runs; each carries a 4xx of its own. */
function fromFramework({ type, status }: Failure, cause: unknown): TollgateError | undefined {
  if (status === undefined || status < 400 || status > 499) return undefined;
  if (type === 'entity.too.large') {
    return new TollgateError('payload_too_large', 'The body is larger than this route takes.', { cause });
  }
  if (status === 415) {
    return new TollgateError(
      'unsupported_media_type',
      'The body must be UTF-8, plain, gzip, deflate or brotli.',
      {
        cause,
      },
    );
  }
  if (cause instanceof URIError) return invalid('path', 'is not valid percent-encoding', cause);
  const message = type === 'entity.parse.failed' ? 'is not valid JSON' : 'could not be read';
  return invalid('body', message, cause);
}

/**
 * The database is away, overloaded, or cut the statement short: nothing was committed, and trying again may work.
 * 08 connection, 53 resources, 57 operator and timeouts, 55P03 lock timeout, 40 rolled back, 25P03/25P04 idle cut.
 */
const RETRYABLE_SQLSTATE = /^(?:08...|53...|57...|55P03|40...|25P03|25P04)$/;
/** P1xxx connection, P2024 and P2028 pool and transaction timeouts, P2034 conflict, P2037 too many connections. */
const RETRYABLE_PRISMA = /^(?:P1\d\d\d|P2024|P2028|P2034|P2037)$/;
const NETWORK = /^(?:ECONNREFUSED|ECONNRESET|ECONNABORTED|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EPIPE|EHOSTUNREACH)$/;
/** node-postgres throws these as bare errors, without a code. */
const POOL_MESSAGES =
  /timeout exceeded when trying to connect|Connection terminated|connection error and is not queryable|Cannot use a pool after calling end/;

/** Prisma's P2039 and P2010 have the SQLSTATE in their words alone. */
const SQLSTATE_IN_WORDS = /Code: `([0-9A-Z]{5})`/;

function isDatabaseAway({ code, message }: Failure): boolean {
  return (
    RETRYABLE_SQLSTATE.test(SQLSTATE_IN_WORDS.exec(message)?.[1] ?? '') ||
    RETRYABLE_SQLSTATE.test(code) ||
    RETRYABLE_PRISMA.test(code) ||
    NETWORK.test(code) ||
    POOL_MESSAGES.test(message)
  );
}

function fromDatabase(failure: Failure, cause: unknown): TollgateError | undefined {
  // Prisma wraps what its adapter met, more than once.
  for (
    let at: unknown = cause, depth = 0;
    at !== undefined && depth < 5;
    at = (at as { cause?: unknown } | null)?.cause, depth++
  ) {
    if (isDatabaseAway(depth === 0 ? failure : failureOf(at))) {
      return new TollgateError(
        'unavailable',
        'The database is not available right now: try again in a moment.',
        {
          retryAfterSeconds: RETRY_AFTER_SECONDS,
          cause,
        },
      );
    }
  }
  return undefined;
}
