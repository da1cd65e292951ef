/** What was paid for: facts of Stripe that stay, but for how much of the money went back. */
import type { PaidLine, PaymentMoney } from '../domain/paid-lines.ts';
import { bucketOf } from './bucket.ts';
import type { Queryable } from './database.ts';

export type LineRow = Omit<PaidLine, 'money'> & PaymentMoney;

export const LINE_COLUMNS = `key, kind, payment_id as "paymentId", line_id as "lineId", subscription_id as "subscriptionId",
  item_id as "itemId", offer, interval, quantity, amount_minor as "amountMinor", currency, starts_at as "start",
  ends_at as "end", paid_at as "paidAt", note, payment_minor as "paidMinor", refunded_minor as "refundedMinor",
  disputed_minor as "disputedMinor", credited_minor as "creditedMinor", returned_at as "returnedAt"`;
const SELECT = `select ${LINE_COLUMNS} from paid_lines where bucket = $1 and user_id = $2`;

export function fromLineRow({
  paidMinor,
  refundedMinor,
  disputedMinor,
  creditedMinor,
  returnedAt = null,
  ...line
}: LineRow): PaidLine {
  return { ...line, money: { paidMinor, refundedMinor, disputedMinor, creditedMinor, returnedAt } };
}

/** @param subscriptionId only this one's */
export async function listPaidLines(
  tx: Queryable,
  userId: string,
  subscriptionId?: string,
): Promise<PaidLine[]> {
  const { rows } = await tx.query<LineRow>(
    `${SELECT} and ($3::text is null or subscription_id = $3) order by starts_at, key`,
    [bucketOf(userId), userId, subscriptionId ?? null],
  );
  return rows.map(fromLineRow);
}

/** Which of these invoices and sessions are known, so that they need not be read again. */
export async function findKnownPayments(
  db: Queryable,
  userId: string,
  paymentIds: readonly string[],
): Promise<Set<string>> {
  const { rows } = await db.query<{ paymentId: string }>(
    `select distinct payment_id as "paymentId" from paid_lines where bucket = $1 and user_id = $2 and payment_id = any($3)`,
    [bucketOf(userId), userId, paymentIds],
  );
  return new Set(rows.map(({ paymentId }) => paymentId));
}

/**
 * Stores lines that were not known and, of all of them, what became of their money if `ticket` is the newer one. What a
 * line bought never changes, but one that bought nothing may be read again when the catalogue has been mended.
 */
export async function storePaidLines(
  tx: Queryable,
  userId: string,
  lines: readonly PaidLine[],
  { ticket, now }: { ticket: number; now: Date },
): Promise<void> {
  if (lines.length === 0) return;
  await tx.query(
    `insert into paid_lines (bucket, user_id, key, kind, payment_id, line_id, subscription_id, item_id, offer, interval,
       quantity, amount_minor, currency, starts_at, ends_at, paid_at, note, payment_minor, refunded_minor,
       disputed_minor, credited_minor, returned_at, money_ticket, created_at)
     select $1, $2, r.key, r.kind, r."paymentId", r."lineId", r."subscriptionId", r."itemId", r.offer, r.interval,
       r.quantity, r."amountMinor", r.currency, r.start, r."end", r."paidAt", r.note, r."paidMinor", r."refundedMinor",
       r."disputedMinor", r."creditedMinor", r."returnedAt", $4, $5
     from jsonb_to_recordset($3::jsonb) as r(key text, kind text, "paymentId" text, "lineId" text,
       "subscriptionId" text, "itemId" text, offer text, interval text, quantity int, "amountMinor" bigint,
       currency text, start timestamptz, "end" timestamptz, "paidAt" timestamptz, note text, "paidMinor" bigint,
       "refundedMinor" bigint, "disputedMinor" bigint, "creditedMinor" bigint, "returnedAt" timestamptz)
     on conflict (bucket, user_id, key) do update set
       kind = case when paid_lines.kind = 'none' then excluded.kind else paid_lines.kind end,
       offer = case when paid_lines.kind = 'none' then excluded.offer else paid_lines.offer end,
       note = case when paid_lines.kind = 'none' then excluded.note else paid_lines.note end,
       payment_minor = excluded.payment_minor,
       refunded_minor = excluded.refunded_minor, disputed_minor = excluded.disputed_minor,
       credited_minor = excluded.credited_minor, returned_at = excluded.returned_at,
       money_ticket = excluded.money_ticket
     where paid_lines.money_ticket < excluded.money_ticket`,
    [
      bucketOf(userId),
      userId,
      JSON.stringify(lines.map(({ money, ...line }) => ({ ...line, ...money }))),
      ticket,
      now,
    ],
  );
}

/** Only for facts that Stripe does not have, or has otherwise. @returns the rows as they were, for the audit */
export async function deletePaidLines(
  tx: Queryable,
  userId: string,
  key: string,
): Promise<Record<string, unknown>[]> {
  const { rows } = await tx.query<Record<string, unknown>>(
    `delete from paid_lines where bucket = $1 and user_id = $2 and key = $3 returning *`,
    [bucketOf(userId), userId, key],
  );
  return rows;
}
