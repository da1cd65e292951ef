/** Idempotency for work that cannot share a transaction with its effect: a call to Stripe. */
import type { Context } from '../context.ts';
import { TollgateError } from '../errors.ts';
import { type Answer, type ChangeRequest, replay } from '../lib/requests.ts';
import { claimKey, findAnswer, releaseKey, storeAnswer } from '../store/idempotency.ts';

/** Longer than any call with its retries: whoever finds the lease over may take the key from a process that died. */
const LEASE_MS = 60_000;

/**
 * Runs `work` for the first request with its key; the answer is kept, a failure gives the key back. A process that dies
 * in between has used Stripe's idempotency keys made from ours, so that the next try finds what it did.
 * @throws TollgateError `idempotency_key_in_progress`, `idempotency_key_reused`
 */
export async function onceOutside(
  context: Context,
  userId: string,
  request: ChangeRequest,
  work: () => Promise<{ status: number; body: Record<string, unknown> }>,
): Promise<Answer> {
  const { pool, clock } = context;
  const record = { userId, scope: request.scope, key: request.key };
  const now = clock.now();
  const leaseUntil = new Date(now.getTime() + LEASE_MS);
  if (!(await claimKey(pool, record, request.hash, { now, leaseUntil }))) {
    const stored = await findAnswer(pool, record);
    // Released since: as if it were under way.
    return replay(stored ?? { requestHash: request.hash, status: null, body: null }, request);
  }
  try {
    const { status, body } = await work();
    await storeAnswer(pool, record, { requestHash: request.hash, status, body }, clock.now());
    return { status, body, replayed: false };
  } catch (error) {
    await releaseKey(pool, record);
    throw error;
  }
}

/**
 * One at a time per user and purpose, across processes and without a transaction: the second is told to come back.
 * @throws TollgateError `conflict`
 */
export async function oneAtATime<T>(
  context: Context,
  userId: string,
  purpose: string,
  work: () => Promise<T>,
): Promise<T> {
  const { pool, clock } = context;
  const record = { userId, scope: 'lease', key: purpose };
  const now = clock.now();
  const leaseUntil = new Date(now.getTime() + LEASE_MS);
  if (!(await claimKey(pool, record, Buffer.from(purpose), { now, leaseUntil }))) {
    throw new TollgateError(
      'conflict',
      `Another ${purpose} of this user is under way: try again in a moment.`,
      {
        retryAfterSeconds: 1,
      },
    );
  }
  try {
    return await work();
  } finally {
    await releaseKey(pool, record);
  }
}
