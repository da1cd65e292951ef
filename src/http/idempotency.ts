/** The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header-07), and the change request it makes. */
import type { Request } from 'express';
import { invalidField } from '../errors.ts';
import { type ChangeRequest, requestHash } from '../lib/requests.ts';
import { newId } from '../store/ids.ts';
import type { Principal, Route } from './route.ts';
import { IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_RULE } from './schemas/inputs.ts';

export const IDEMPOTENCY_KEY_HEADER = 'idempotency-key';
const FIELD = `header.${IDEMPOTENCY_KEY_HEADER}`;

/**
 * The key as the caller means it: the draft has it quoted (RFC 8941, 3.3.3), most clients send it bare; both are one.
 * @throws TollgateError `invalid_request`
 */
export function parseIdempotencyKey(header: string): string {
  const key = header.startsWith('"') ? unquoted(header) : header;
  if (key === undefined) throw invalidField(FIELD, 'is not a quoted string as RFC 8941 has it');
  if (!IDEMPOTENCY_KEY.test(key)) throw invalidField(FIELD, IDEMPOTENCY_KEY_RULE);
  return key;
}

function unquoted(header: string): string | undefined {
  const inner = /^"((?:[^"\\]|\\["\\])*)"$/.exec(header)?.[1];
  return inner?.replace(/\\(["\\])/g, '$1');
}

function keyOf(route: Route, request: Request): string {
  const header = request.get(IDEMPOTENCY_KEY_HEADER);
  if (header !== undefined) return parseIdempotencyKey(header);
  if (route.idempotency === 'required') {
    throw invalidField(
      FIELD,
      'is required here: send a new key for each new request, and the same for a retry',
    );
  }
  // One effect per call: nobody can ask for it again.
  return newId('auto');
}

export function actorOf(principal: Principal): string {
  return principal.kind === 'none' ? 'nobody' : `${principal.kind}:${principal.id}`;
}

/** The parameters are part of what was asked, the order of a body's fields is not. */
export function changeRequest(route: Route, request: Request, principal: Principal): ChangeRequest {
  const place = `${route.method.toUpperCase()} ${route.path}`;
  return {
    key: keyOf(route, request),
    scope: `${principal.kind}:${place}`,
    hash: requestHash(place, request.params, request.body ?? {}),
    requestId: String(request.id),
    actor: actorOf(principal),
  };
}
