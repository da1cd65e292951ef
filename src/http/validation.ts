/** Checks what came against the schemas of a route and names every field that is at fault. */
import type { Request } from 'express';
import type { z } from 'zod';
import { type FieldError, invalidField, TollgateError } from '../errors.ts';

/** The deepest JSON that any route takes; a walk over more would only cost stack. */
const DEPTH_MAX = 32;

/**
 * NUL, which PostgreSQL cannot store, and halves of a surrogate pair, which its JSON refuses: a 400 here, or they
 * would be a 500 there.
 */
const UNSTORABLE = /[\0\p{Surrogate}]/u;

/** Keys that mean something to JavaScript objects; no field of ours has such a name. */
const FORBIDDEN_KEYS = new Set(['__proto__', 'constructor', 'prototype']);

type Source = 'params' | 'query' | 'body';

/** @throws TollgateError `invalid_request` with one entry per field */
export function validated(schema: z.ZodType | undefined, source: Source, value: unknown): unknown {
  refuseUnstorable(value, source);
  if (!schema) return refuseAny(source, value);
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const errors = result.error.issues.flatMap((issue) => fieldErrors(source, issue));
  throw invalidRequest(errors);
}

export function invalidRequest(errors: FieldError[]): TollgateError {
  const [first] = errors;
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : '';
  const detail = first ? `${first.path}: ${first.message}${more}` : 'The request is not valid.';
  return new TollgateError('invalid_request', detail, { errors });
}

function fieldErrors(source: Source, issue: z.core.$ZodIssue): FieldError[] {
  const path = [source, ...issue.path.map(String)].join('.');
  if (issue.code !== 'unrecognized_keys') return [{ path, message: issue.message }];
  return issue.keys.map((key) => ({ path: `${path}.${key}`, message: 'is not a field of this request' }));
}

/** A route without fields here takes none, rather than ignore what somebody meant by one. */
function refuseAny(source: Source, value: unknown): Record<string, never> {
  const keys = typeof value === 'object' && value !== null ? Object.keys(value) : [];
  if (keys.length === 0) return {};
  throw invalidRequest(
    keys.map((key) => ({ path: `${source}.${key}`, message: 'is not a field of this request' })),
  );
}

function refuseUnstorable(value: unknown, source: Source): void {
  const fault = faultOf(value, 0);
  if (!fault) return;
  const path = `${source}${fault.path}`;
  throw invalidField(fault.isTooDeep ? path.split('.', 2).join('.') : path, fault.message);
}

interface Fault {
  /** From the value on, with a dot before each name: put together only where there is a fault. */
  path: string;
  message: string;
  isTooDeep?: true;
}

function faultOf(value: unknown, depth: number): Fault | undefined {
  if (typeof value === 'string') {
    if (UNSTORABLE.test(value)) return { path: '', message: 'must not contain NUL or half a surrogate pair' };
  } else if (typeof value === 'number') {
    if (!Number.isFinite(value)) return { path: '', message: 'is too large a number' };
  } else if (typeof value === 'object' && value !== null) {
    if (depth === DEPTH_MAX)
      return { path: '', message: `is nested deeper than ${DEPTH_MAX} levels`, isTooDeep: true };
    for (const key of Object.keys(value)) {
      if (FORBIDDEN_KEYS.has(key)) return { path: `.${key}`, message: 'is not a field of this request' };
      if (UNSTORABLE.test(key))
        return { path: '', message: 'has a name with NUL or half a surrogate pair in it' };
      const fault = faultOf((value as Record<string, unknown>)[key], depth + 1);
      if (fault) return { ...fault, path: `.${key}${fault.path}` };
    }
  }
  return undefined;
}

/** Whether the request brings a body at all (RFC 9112, 6.3). */
export function hasBody(request: Request): boolean {
  const length = request.headers['content-length'];
  return request.headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

/** @throws TollgateError `unsupported_media_type` for a body that does not say it is JSON */
export function refuseOtherMediaType(request: Request): void {
  const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  if (type === 'application/json' || (type?.startsWith('application/') && type.endsWith('+json'))) return;
  throw new TollgateError('unsupported_media_type', 'Send the body as Content-Type: application/json.');
}

/** A body that is missing is an empty one where the route can do without; else the error names both it and its fields. */
export function validatedBody(schema: z.ZodType | undefined, request: Request): unknown {
  const body: unknown = request.body;
  if (body !== undefined) return validated(schema, 'body', body);
  const result = schema?.safeParse({});
  if (result === undefined) return {};
  if (result.success) return result.data;
  const missing = { path: 'body', message: 'a JSON body is required' };
  throw invalidRequest([missing, ...result.error.issues.flatMap((issue) => fieldErrors('body', issue))]);
}
