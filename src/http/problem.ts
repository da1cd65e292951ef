/** The one writer of errors: whatever was thrown becomes a problem document (RFC 9457) by the table of codes. */
import type { Request, Response } from 'express';
import type { Context } from '../context.ts';
import { ERROR_CODES, type ErrorCode, type FieldError, type TollgateError } from '../errors.ts';
import { requestView } from './logging.ts';
import { translateError } from './translate.ts';

/** Members of every error body; `insufficient_credits` and others add their own. */
export interface Problem extends Record<string, unknown> {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  code: ErrorCode;
  requestId: string;
  errors?: FieldError[];
}

/** The page that explains a code; `/docs/errors/{code}` serves it. */
export function problemType(publicUrl: string, code: string): string {
  return `${publicUrl}/docs/errors/${code}`;
}

/** What a lib function calls `plan` is `body.plan` to the caller. */
function callerPath(path: string): string {
  return /^(?:body|query|params|header|path)\b/.test(path) ? path : `body.${path}`;
}

export function problemOf(
  error: TollgateError,
  where: { publicUrl: string; instance: string; requestId: string; isSeedRoute: boolean },
): Problem {
  const { title, status } = ERROR_CODES[error.code];
  const base = {
    type: problemType(where.publicUrl, error.code),
    title,
    status,
    detail: error.message,
    instance: where.instance,
    code: error.code,
    requestId: where.requestId,
  };
  // Twice, so that what every problem has stands first, and no member can take its place.
  const problem: Problem = { ...base, ...error.members, ...base };
  if (error.errors.length > 0) {
    problem.errors = error.errors.map(({ path, message }) => ({ path: callerPath(path), message }));
  }
  // The seed's front ends test `status === 429` and read `error`; everybody else gets the 402 that fits.
  if (where.isSeedRoute && error.code === 'insufficient_credits') {
    return { ...problem, status: 429, error: 'Insufficient credits' };
  }
  return problem;
}

/** The problem of an error; where the fault is ours, the log hears of it. */
export function loggedProblem(context: Context, request: Request, thrown: unknown): Problem {
  const error = translateError(thrown);
  if (error.status >= 500) {
    const level = error.code === 'internal_error' ? 'error' : 'warn';
    const view = { req: requestView(request), err: error.cause ?? error, code: error.code };
    request.log[level](view, 'request failed');
  }
  return problemOf(error, {
    publicUrl: context.config.publicUrl,
    instance: request.originalUrl.split('?', 1)[0] ?? '/',
    requestId: String(request.id),
    isSeedRoute: request.path.startsWith('/api/'),
  });
}

/**
 * Answers with what was thrown. Errors of ours are told as they are; anything else is logged and told as little of
 * as possible.
 */
export function writeError(context: Context, request: Request, response: Response, thrown: unknown): void {
  const error = translateError(thrown);
  const problem = loggedProblem(context, request, error);
  if (response.headersSent) {
    // The status is out already: cutting the connection is the only honest end.
    response.destroy();
    return;
  }
  if (error.retryAfterSeconds !== undefined) response.set('Retry-After', String(error.retryAfterSeconds));
  response
    .status(problem.status)
    .set('Cache-Control', 'no-store')
    .set('Content-Type', 'application/problem+json; charset=utf-8')
    .send(Buffer.from(JSON.stringify(problem)));
}
