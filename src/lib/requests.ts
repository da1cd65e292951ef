/** How a change is asked for, and how a repeated request gets the first answer again. */
import type { Context } from '../context.ts';
import { TollgateError } from '../errors.ts';
import type { AccountOptions } from '../store/account.ts';
import type { AccountUnit } from '../store/account-unit.ts';
import type { Transaction } from '../store/database.ts';
import { findAnswer, storeAnswer } from '../store/idempotency.ts';
import { newId } from '../store/ids.ts';
import { sha256 } from './sha256.ts';

/** One request for a change. */
export interface ChangeRequest {
  /** The caller's Idempotency-Key, or one made for it. */
  key: string;
  /** Principal kind and route: the same key elsewhere is another request. */
  scope: string;
  /** Fingerprint of what was asked; the same key with another one is refused. */
  hash: Buffer;
  requestId: string | null;
  /** Who asked, for the audit. */
  actor: string;
}

/** An answer as the caller sees it. */
export interface Answer<Body = Record<string, unknown>> {
  status: number;
  body: Body;
  replayed: boolean;
}

/** SHA-256 of the canonical form, first 16 bytes: enough to tell requests apart, small in a ledger row. */
export function requestHash(...parts: unknown[]): Buffer {
  return sha256(canonical(parts), 16);
}

/** JSON with sorted keys, so that the order in which a client writes its fields does not matter. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if ('toJSON' in value && typeof value.toJSON === 'function') return canonical(value.toJSON());
  let fields = '';
  for (const key of sorted(Object.keys(value))) {
    const field = (value as Record<string, unknown>)[key];
    if (field !== undefined) fields += `${fields && ','}${JSON.stringify(key)}:${canonical(field)}`;
  }
  return `{${fields}}`;
}

const FEW = 8;

/** As `sort()` does it, which makes 0.9 kB of garbage even for two. */
function sorted(keys: string[]): string[] {
  if (keys.length > FEW) return keys.sort();
  for (let end = 1; end < keys.length; end++) {
    for (let at = end; at > 0; at--) {
      const [one = '', other = ''] = [keys[at - 1], keys[at]];
      if (one < other) break;
      keys[at - 1] = other;
      keys[at] = one;
    }
  }
  return keys;
}

/** The request of a library call: one effect per `key`, or one per call where there is none. */
export function libraryRequest(scope: string, key: string | undefined, ...input: unknown[]): ChangeRequest {
  return {
    key: key ?? newId('auto'),
    scope: `lib:${scope}`,
    hash: requestHash(scope, ...input),
    requestId: null,
    actor: 'library',
  };
}

export function accountOptions(context: Context): AccountOptions {
  return { pool: context.pool, catalogue: context.catalogue, now: context.clock.now() };
}

/**
 * Runs `work` for the first request with its key and answers every later one with what the first got. The caller
 * holds the user's lock, so of two at once the second waits and finds the answer.
 * @throws TollgateError `idempotency_key_reused`
 */
export async function once<Body extends Record<string, unknown>>(
  tx: Transaction,
  target: { userId: string; now: Date },
  request: ChangeRequest,
  work: () => Promise<{ status: number; body: Body }>,
): Promise<Answer> {
  const record = { userId: target.userId, scope: request.scope, key: request.key };
  const stored = await findAnswer(tx, record);
  if (stored) return replay(stored, request);
  const { status, body } = await work();
  await storeAnswer(tx, record, { requestHash: request.hash, status, body }, target.now);
  return { status, body, replayed: false };
}

/** The same for a request among others, whose answer was read before (store/account-unit.ts). */
export function onceIn<Body extends Record<string, unknown>>(
  unit: AccountUnit,
  request: ChangeRequest,
  work: () => { status: number; body: Body },
): Answer {
  const stored = unit.answer(request);
  if (stored) return replay(stored, request);
  const { status, body } = work();
  unit.keepAnswer(request, { requestHash: request.hash, status, body });
  return { status, body, replayed: false };
}

export function replay(
  stored: { requestHash: Uint8Array; status: number | null; body: Record<string, unknown> | null },
  request: ChangeRequest,
): Answer {
  refuseOtherRequest(stored.requestHash, request);
  if (stored.status === null || stored.body === null) {
    throw new TollgateError(
      'idempotency_key_in_progress',
      'The first request with this Idempotency-Key is still under way: try again in a moment.',
      { retryAfterSeconds: 1 },
    );
  }
  return { status: stored.status, body: stored.body, replayed: true };
}

export function refuseOtherRequest(
  storedHash: Uint8Array | null,
  request: Pick<ChangeRequest, 'hash'>,
): void {
  if (storedHash === null || request.hash.equals(storedHash)) return;
  throw keyReused();
}

export function keyReused(): TollgateError {
  return new TollgateError(
    'idempotency_key_reused',
    'This Idempotency-Key was used for a request with other content: use a new key for a new request.',
  );
}
