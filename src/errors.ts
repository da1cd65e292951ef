/**
 * The one error class and the one table of codes. A code is part of the contract (api.md "Errors"): callers switch
 * on it, so a code never changes its meaning or its status.
 */
export const ERROR_CODES = {
  invalid_request: { status: 400, title: 'The request is not valid' },
  unauthenticated: { status: 401, title: 'Authentication is required' },
  insufficient_credits: { status: 402, title: 'Insufficient credits' },
  forbidden: { status: 403, title: 'The credential may not do this' },
  not_found: { status: 404, title: 'Not found' },
  method_not_allowed: { status: 405, title: 'The method is not allowed here' },
  conflict: { status: 409, title: 'The request conflicts with the present state' },
  idempotency_key_in_progress: { status: 409, title: 'A request with this key is under way' },
  payload_too_large: { status: 413, title: 'The body is too large' },
  unsupported_media_type: { status: 415, title: 'The content type is not supported' },
  idempotency_key_reused: { status: 422, title: 'This key was used for another request' },
  rate_limited: { status: 429, title: 'Too many requests' },
  internal_error: { status: 500, title: 'Something went wrong on our side' },
  stripe_unavailable: { status: 502, title: 'Stripe could not be reached' },
  unavailable: { status: 503, title: 'The service is not available right now' },
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface FieldError {
  path: string;
  message: string;
}

export interface TollgateErrorOptions {
  /** Further members of the problem document, e.g. `requiredTokens`. */
  members?: Record<string, unknown>;
  /** Which input is at fault; `path` is `body.userId`, `header.idempotency-key`, … */
  errors?: FieldError[];
  retryAfterSeconds?: number;
  cause?: unknown;
}

/** Every failure that a caller may see. `message` says what to do about it. */
export class TollgateError extends Error {
  override readonly name = 'TollgateError';
  readonly members: Record<string, unknown>;
  readonly errors: FieldError[];
  readonly retryAfterSeconds: number | undefined;

  constructor(
    readonly code: ErrorCode,
    message: string,
    options: TollgateErrorOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.members = options.members ?? {};
    this.errors = options.errors ?? [];
    this.retryAfterSeconds = options.retryAfterSeconds;
  }

  get status(): number {
    return ERROR_CODES[this.code].status;
  }
}

/** A 400 that names one field. */
export function invalidField(path: string, message: string): TollgateError {
  return new TollgateError('invalid_request', `${path}: ${message}`, { errors: [{ path, message }] });
}

/** Foreign and unknown are one answer: a caller learns nothing about what it may not see. */
export function notFound(what: string): TollgateError {
  return new TollgateError('not_found', `There is no such ${what}.`);
}
