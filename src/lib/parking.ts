/** Checks the ledgers of users that have changed, and parks those that are not sound. */
import type { Context } from '../context.ts';
import { notFound, TollgateError } from '../errors.ts';
import { recordAudit } from '../store/audit.ts';
import { readCursor, writeCursor } from '../store/inbox.ts';
import { findEntriesOfNobody, findViolationsOf, type Violation } from '../store/invariants.ts';
import { findParking, parkUser, unparkUser, wakeParkedEvents } from '../store/parking.ts';
import { inTransaction } from '../store/transaction.ts';
import { findUser, listUsersChangedSince, USER_SLICES } from '../store/users.ts';

/**
 * A change carries the time at which its transaction began: one that was under way at the last run may have been
 * committed after it. No transaction of ours lasts as long (store/database.ts).
 */
const OVERLAP_MS = 60_000;
const NEVER = new Date(0);
const REASON_LENGTH = 500;

export interface Verification {
  checked: number;
  /** Users that were sound before. */
  parked: number;
}

/**
 * Goes through the users in slices, each from where it was last checked: what is cut off goes on at the slice where it
 * stopped. A user that cannot be checked stops nobody, and its slice is checked again.
 */
export async function verifyLedgers(context: Context): Promise<Verification> {
  const sum: Verification = { checked: 0, parked: 0 };
  for (let slice = 0; slice < USER_SLICES; slice++) {
    const cursor = `verify-ledger:${slice}`;
    const startedAt = context.clock.now();
    const last = (await readCursor(context.pool, cursor)) ?? NEVER;
    const since = new Date(last.getTime() - OVERLAP_MS);
    let hasFailed = false;
    for (const userId of await listUsersChangedSince(context.pool, { slice, since })) {
      try {
        if (await verifyUser(context, userId)) sum.parked += 1;
        sum.checked += 1;
      } catch (error) {
        hasFailed = true;
        context.log.error({ err: error, userId, alert: 'verify_failed' }, 'A ledger could not be checked');
      }
    }
    if (!hasFailed) await writeCursor(context.pool, cursor, startedAt);
  }
  await verifyOwners(context);
  return sum;
}

/** Nobody can be parked for an entry of nobody: a human is told. */
async function verifyOwners(context: Context): Promise<void> {
  const cursor = 'verify-ledger:owners';
  const startedAt = context.clock.now();
  const last = (await readCursor(context.pool, cursor)) ?? NEVER;
  const violations = await findEntriesOfNobody(context.pool, new Date(last.getTime() - OVERLAP_MS));
  if (violations.length > 0) {
    context.log.error(
      { alert: 'ledger_violation', violations },
      'The ledger has entries of users that are not there',
    );
    return;
  }
  await writeCursor(context.pool, cursor, startedAt);
}

/** @returns whether the user was parked by this */
async function verifyUser(context: Context, userId: string): Promise<boolean> {
  const violations = await findViolationsOf(context.pool, userId);
  if (violations.length === 0) return false;
  const text = 'A ledger violates an invariant: jobs and Stripe leave this user alone until it is mended';
  context.log.error({ alert: 'ledger_violation', userId, violations }, text);
  const at = context.clock.now();
  const reason = reasonOf(violations);
  return inTransaction(context.pool, async (tx) => {
    const isNew = await parkUser(tx, userId, { at, reason });
    if (isNew) {
      const act = { actor: 'verify-ledger', action: 'park', subject: null };
      await recordAudit(tx, { ...act, userId, reason, now: at });
    }
    return isNew;
  });
}

function reasonOf(violations: readonly Violation[]): string {
  const text = violations.map(({ invariant, detail }) => `${invariant}: ${detail}`).join('; ');
  return text.length > REASON_LENGTH ? `${text.slice(0, REASON_LENGTH)}…` : text;
}

/**
 * Gives a user whose ledger has been mended back to jobs and Stripe, and handles what has waited.
 * @throws TollgateError `not_found`; `conflict` where the user is not parked, or its ledger still is not sound
 */
export async function unpark(
  context: Context,
  userId: string,
  { reason, actor }: { reason: string; actor: string },
): Promise<{ wokenEvents: string[] }> {
  const now = context.clock.now();
  const wokenEvents = await inTransaction(context.pool, async (tx) => {
    if (!(await findUser(tx, userId))) throw notFound('user');
    if (!(await findParking(tx, userId))) throw new TollgateError('conflict', 'This user is not parked.');
    const violations = await findViolationsOf(tx, userId);
    if (violations.length > 0) {
      throw new TollgateError('conflict', `The ledger is not sound yet: ${reasonOf(violations)}`);
    }
    await unparkUser(tx, userId);
    await recordAudit(tx, { actor, action: 'unpark', userId, subject: null, reason, now });
    return wakeParkedEvents(tx, userId, now);
  });
  for (const eventId of wokenEvents) context.jobs.wake({ name: 'handle-stripe-event', eventId });
  return { wokenEvents };
}
