/**
 * Mends a difference: first the sums, from the ledger; then the facts, by the same sync as a webhook; then what no sync
 * can mend. A difference counts as repaired when a new comparison of its user does not find it.
 */
import type { Context } from '../context.ts';
import { landingsByKey, lineKeyOf } from '../domain/check-account.ts';
import type { Grant } from '../domain/model.ts';
import { addDays } from '../domain/period.ts';
import { planDefinition } from '../domain/plans.ts';
import { settle } from '../domain/settle.ts';
import { notFound } from '../errors.ts';
import { unpark } from '../lib/parking.ts';
import { accountOptions } from '../lib/requests.ts';
import { inAccount, loadGrants, withAccount } from '../store/account.ts';
import { loadFacts } from '../store/account-roll.ts';
import { recordAudit } from '../store/audit.ts';
import type { Transaction } from '../store/database.ts';
import { findViolationsOf } from '../store/invariants.ts';
import { deletePaidLines, listPaidLines } from '../store/paid-lines.ts';
import { findParking } from '../store/parking.ts';
import { rebuildUser } from '../store/rebuild.ts';
import { findDifference, noteRepair, type StoredDifference } from '../store/reconciliations.ts';
import { deleteSubscription } from '../store/subscriptions.ts';
import { inTransaction } from '../store/transaction.ts';
import { UnknownCustomerError } from '../stripe/customers.ts';
import { syncCheckoutSession, syncInvoice, syncSubscription } from '../stripe/sync.ts';
import { correctAmount } from './correction.ts';
import { compareUser } from './reconcile.ts';

/** What a person has to do where no repair of ours is sound. */
const FOR_A_PERSON: Partial<Record<StoredDifference['kind'], string>> = {
  unknown_customer:
    'Nobody here is this customer: write the user into its metadata (tollgate_user_id) in Stripe, or refund it.',
  unknown_price:
    'Give the price a lookup key of the catalogue, or add its key to PLANS_FILE; then repair again.',
  window_paid_twice: 'Two invoices paid for one window: refund the later one in Stripe.',
  two_subscriptions: 'Two subscriptions are paid for and one counts: cancel and refund the other in Stripe.',
};

/** @throws TollgateError `not_found` */
export async function repairDifference(
  context: Context,
  runId: string,
  id: string,
  actor: string,
): Promise<StoredDifference> {
  const { pool, clock } = context;
  const found = await findDifference(pool, runId, id);
  if (!found) throw notFound('difference');
  if (found.repair === 'repaired') return found;
  try {
    const done = await mend(context, found, actor);
    const left = await isLeft(context, found);
    const outcome = left
      ? (FOR_A_PERSON[found.kind] ?? `Still there after: ${done.join('; ')}`)
      : done.join('; ');
    const repair = left ? 'needs_person' : 'repaired';
    await noteRepair(pool, id, { repair, outcome, error: null, repairedAt: left ? null : clock.now() });
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    context.log.error({ err: error, runId, differenceId: id }, 'A difference could not be repaired');
    const outcome = FOR_A_PERSON[found.kind] ?? null;
    await noteRepair(pool, id, { repair: 'needs_person', outcome, error: text, repairedAt: null });
  }
  return (await findDifference(pool, runId, id)) ?? found;
}

async function isLeft(context: Context, { kind, subjectId, userId }: StoredDifference): Promise<boolean> {
  if (userId === null) return true;
  const { differences } = await compareUser(context, userId);
  return differences.some((one) => one.kind === kind && one.subjectId === subjectId);
}

/** @returns what was done, in words */
async function mend(context: Context, found: StoredDifference, actor: string): Promise<string[]> {
  const { kind, userId, paymentId, subscriptionId } = found;
  if (userId === null) {
    if (paymentId !== null) await syncPaid(context, paymentId);
    return ['synchronised'];
  }
  const done = await mendSums(context, userId, actor);
  await releaseParked(context, userId, actor);
  if (kind === 'ledger') return done;
  if (kind === 'extra_grant') return [...done, await voidExtra(context, found, userId, actor)];
  if (kind === 'extra_line' || kind === 'extra_subscription' || kind === 'wrong_line') {
    done.push(await removeFact(context, found, userId, actor));
  }
  if (kind !== 'extra_line' && kind !== 'extra_subscription') {
    if (paymentId !== null) await syncPaid(context, paymentId);
    else if (subscriptionId !== null) await syncSubscription(context, subscriptionId);
  }
  await resettle(context, userId);
  done.push('synchronised with Stripe');
  if (kind === 'wrong_amount') done.push(await correct(context, found, userId, actor));
  return done;
}

async function syncPaid(context: Context, paymentId: string): Promise<void> {
  try {
    if (paymentId.startsWith('cs_')) await syncCheckoutSession(context, paymentId);
    else await syncInvoice(context, paymentId);
  } catch (error) {
    // Told by the difference that is still there.
    if (!(error instanceof UnknownCustomerError)) throw error;
  }
}

/** The ledger is the truth of every sum. */
async function mendSums(context: Context, userId: string, actor: string): Promise<string[]> {
  const { pool, catalogue, clock } = context;
  if ((await findViolationsOf(pool, userId)).length === 0) return [];
  const now = clock.now();
  return inTransaction(pool, async (tx) => {
    const done = await rebuildUser(tx, userId, await describer(context, tx, userId), now);
    await recordAudit(tx, {
      actor,
      action: 'rebuild',
      userId,
      subject: userId,
      reason: done.join('; '),
      now,
    });
    await inAccount(tx, { catalogue, now }, userId, () => undefined);
    return done;
  });
}

/** Stripe leaves a user alone whose ledger was found broken; by now it is mended. */
async function releaseParked(context: Context, userId: string, actor: string): Promise<void> {
  if (!(await findParking(context.pool, userId))) return;
  await unpark(context, userId, { reason: 'Mended by reconciliation', actor });
}

/** What a deleted grant was for, from its key and the facts. */
async function describer(
  { catalogue }: Context,
  tx: Transaction,
  userId: string,
): Promise<(key: string) => Partial<Grant> | null> {
  const lines = await listPaidLines(tx, userId);
  const landings = landingsByKey({ catalogue }, lines);
  return (key) => {
    const landing = landings.get(key);
    const pack = lines.find((line) => line.kind === 'pack' && line.key === key);
    if (pack) {
      const { offer, paymentId, amountMinor, currency } = pack;
      return { offer, checkoutSessionId: paymentId, costBasisMinor: amountMinor, currency };
    }
    if (!landing) return /^(?:bonus|adjustment|correct):/.test(key) ? {} : null;
    const { line, window, offer, kind, costBasisMinor } = landing;
    return {
      offer,
      invoiceId: line.paymentId,
      invoiceLineId: line.lineId,
      subscriptionId: line.subscriptionId,
      subscriptionItemId: line.itemId,
      costBasisMinor,
      currency: line.currency,
      windowStart: window.start,
      windowEnd: window.end,
      windowKind: kind,
      expiresAt: addDays(window.end, planDefinition(catalogue, offer).graceDays),
    };
  };
}

async function resettle(context: Context, userId: string): Promise<void> {
  await withAccount(accountOptions(context), userId, async (account, tx) => {
    settle(account, await loadFacts(tx, account));
  });
}

/** Stripe has no such payment: what is left of the grant goes, and its line with it. What was spent is only told. */
function voidExtra(
  context: Context,
  found: StoredDifference,
  userId: string,
  actor: string,
): Promise<string> {
  return withAccount(accountOptions(context), userId, async (account, tx) => {
    const grantId = found.grantId ?? found.subjectId;
    await loadGrants(tx, account, [grantId]);
    const grant = account.grants.get(grantId);
    if (!grant) return 'the grant is gone';
    const reason = 'Stripe has no such payment';
    const tokens = grant.remainingTokens;
    account.takeOut(grant, 'voided', reason, { key: `void:${grant.id}:extra` });
    grant.isWithheld = false;
    const lineKey = lineKeyOf(grant);
    const lines = lineKey === null ? [] : await deletePaidLines(tx, userId, lineKey);
    const text = `${reason}: ${tokens} of ${grant.amountTokens} tokens voided; lines removed: ${JSON.stringify(lines)}`;
    await recordAudit(tx, {
      actor,
      action: 'void',
      userId,
      subject: grantId,
      reason: text,
      now: account.now,
    });
    return text;
  });
}

/** A fact that Stripe does not have; or has otherwise, so that the sync that follows writes it anew. */
function removeFact(
  context: Context,
  found: StoredDifference,
  userId: string,
  actor: string,
): Promise<string> {
  const { kind, subjectId } = found;
  const now = context.clock.now();
  return inTransaction(context.pool, async (tx) => {
    const rows =
      kind === 'extra_subscription'
        ? await deleteSubscription(tx, userId, subjectId)
        : await deletePaidLines(tx, userId, subjectId);
    const reason = `removed: ${JSON.stringify(rows)}`;
    await recordAudit(tx, { actor, action: 'remove_fact', userId, subject: subjectId, reason, now });
    return reason;
  });
}

/** Only where the ledger itself says the wrong amount; the sums are right by now. */
function correct(context: Context, found: StoredDifference, userId: string, actor: string): Promise<string> {
  return withAccount(accountOptions(context), userId, async (account, tx) => {
    const grantId = found.grantId ?? found.subjectId;
    await loadGrants(tx, account, [grantId]);
    const grant = account.grants.get(grantId);
    const should = found.stripeSide?.tokens;
    if (!grant || typeof should !== 'number' || grant.amountTokens === should) return 'the amount is right';
    const reason = correctAmount(account, grant, should);
    await recordAudit(tx, { actor, action: 'correct', userId, subject: grantId, reason, now: account.now });
    return reason;
  });
}
