/**
 * The finance month, read off the ledger by its own dates: everything is a sum over what had happened by an instant, and
 * the month is the difference of two such sums. So months chain, and one that is over never changes.
 */
import { bucketOf } from './bucket.ts';
import type { Pool, Queryable } from './database.ts';
import { inReport } from './transaction.ts';

/** Half-open. */
export interface Month {
  start: Date;
  end: Date;
}

/** Tokens and their cost by what was sold; money in minor units. Free tokens cost nothing and have no currency. */
export interface CreditRow {
  currency: string | null;
  offer: string | null;
  source: string;
  openingTokens: number;
  issuedTokens: number;
  consumedTokens: number;
  expiredTokens: number;
  voidedTokens: number;
  clawedTokens: number;
  closingTokens: number;
  openingMinor: number;
  issuedMinor: number;
  recognisedMinor: number;
  breakageMinor: number;
  voidedMinor: number;
  clawedMinor: number;
  closingMinor: number;
}

/** Sums of one grant by the end and by the start of the month (suffixes _e and _s). */
const moved = (type: string, more = ''): string =>
  ['e', 's']
    .map((at) => {
      const isBefore = at === 'e' ? '' : ' and p.created_at < $1';
      return `coalesce(sum(p.tokens) filter (where p.type = '${type}'${more}${isBefore}), 0)`;
    })
    .join(', ');

/**
 * The cost of n tokens of a grant is floor(cost × n / amount), taken in one order (consumed, then expired, voided,
 * clawed): the parts add up to the cost exactly when all tokens have left, and no cent is lost on the way.
 */
const cost = (tokens: string): string => `floor(cost::numeric * (${tokens}) / amount)`;
const CUMULATIVE = ['e', 's']
  .map((at) => {
    const [c, x, v, w] = ['c', 'x', 'v', 'w'].map((name) => `${name}_${at}`);
    return `${cost(`${c}`)} as rec_${at}, ${cost(`${c} + ${x}`)} - ${cost(`${c}`)} as brk_${at},
      ${cost(`${c} + ${x} + ${v}`)} - ${cost(`${c} + ${x}`)} as vod_${at},
      ${cost(`${c} + ${x} + ${v} + ${w}`)} - ${cost(`${c} + ${x} + ${v}`)} as clw_${at},
      in_${at} * (cost - ${cost(`${c} + ${x} + ${v} + ${w}`)}) as def_${at},
      in_${at} * amount - (${c} + ${x} + ${v} + ${w}) as open_${at}`;
  })
  .join(', ');

const CREDITS = `with grants as (
    select g.bucket, g.user_id, g.id, g.currency, g.offer, g.source, g.amount_tokens as amount,
      coalesce(g.cost_basis_minor, 0) as cost, 1 as in_e, (g.created_at < $1)::int as in_s
    from credit_grants g where g.created_at < $2),
  parts as (
    select p.bucket, p.user_id, p.grant_id, ${moved('consumed')}, ${moved('refunded')}, ${moved('granted')},
      ${moved('expired')}, ${moved('voided', " and p.key not like 'claw:%'")},
      ${moved('voided', " and p.key like 'claw:%'")}
    from entry_parts p where p.created_at < $2 group by 1, 2, 3),
  named (bucket, user_id, id, con_e, con_s, ref_e, ref_s, gra_e, gra_s, exp_e, exp_s, voi_e, voi_s, cla_e, cla_s) as (
    select * from parts),
  sums as (
    select g.*, in_e * amount - gra_e - con_e - ref_e as c_e, in_s * amount - gra_s - con_s - ref_s as c_s,
      -exp_e as x_e, -exp_s as x_s, -voi_e as v_e, -voi_s as v_s, -cla_e as w_e, -cla_s as w_s
    from grants g join named n on n.bucket = g.bucket and n.user_id = g.user_id and n.id = g.id),
  cumulative as (select sums.*, ${CUMULATIVE} from sums)
  select currency, offer, source, sum(open_s) as "openingTokens", sum(amount * (1 - in_s)) as "issuedTokens",
    sum(c_e - c_s) as "consumedTokens", sum(x_e - x_s) as "expiredTokens", sum(v_e - v_s) as "voidedTokens",
    sum(w_e - w_s) as "clawedTokens", sum(open_e) as "closingTokens", sum(def_s) as "openingMinor",
    sum(cost * (1 - in_s)) as "issuedMinor", sum(rec_e - rec_s) as "recognisedMinor", sum(brk_e - brk_s) as "breakageMinor",
    sum(vod_e - vod_s) as "voidedMinor", sum(clw_e - clw_s) as "clawedMinor", sum(def_e) as "closingMinor"
  from cumulative group by 1, 2, 3 order by 1 nulls last, 2 nulls last, 3`;

/** What was paid for, by the day on which we booked it: its credits, and the months of a year that are still to come. */
export interface LineRow {
  currency: string;
  offer: string | null;
  /** For allowances and packs; for lines that give no tokens (credits of plan changes, other prices). */
  boughtMinor: number;
  noTokensMinor: number;
  openingMinor: number;
  issuedMinor: number;
  /** Never to be issued: the line's time is over. */
  lapsedMinor: number;
  closingMinor: number;
}

const LINES = `with lines as (
    select l.bucket, l.user_id, l.key, l.currency, l.offer, l.amount_minor as amount,
      (l.kind not in ('credit', 'none'))::int as gives, (l.created_at < $1)::int as in_s,
      (l.ends_at <= $1 and l.created_at < $1)::int as over_s, (l.ends_at <= $2)::int as over_e,
      coalesce(sum(g.cost_basis_minor) filter (where g.created_at < $1), 0) as issued_s,
      coalesce(sum(g.cost_basis_minor), 0) as issued_e
    from paid_lines l left join credit_grants g on g.bucket = l.bucket and g.user_id = l.user_id and g.created_at < $2
      and (g.key = l.key or (g.invoice_id = l.payment_id and g.invoice_line_id = l.line_id))
    where l.created_at < $2 group by l.bucket, l.user_id, l.key)
  select currency, offer, sum(amount * gives * (1 - in_s)) as "boughtMinor",
    sum(amount * (1 - gives) * (1 - in_s)) as "noTokensMinor",
    sum(gives * in_s * (1 - over_s) * (amount - issued_s)) as "openingMinor", sum(gives * (issued_e - issued_s)) as "issuedMinor",
    sum(gives * (over_e * (amount - issued_e) - over_s * (amount - issued_s))) as "lapsedMinor",
    sum(gives * (1 - over_e) * (amount - issued_e)) as "closingMinor"
  from lines group by 1, 2 order by 1, 2 nulls last`;

/** Whole payments: tax and customer balance are in none of the lines. */
export interface PaymentRow {
  currency: string;
  bookedMinor: number;
  /** Of that, paid before the month. */
  paidEarlierMinor: number;
  otherMinor: number;
}

const PAYMENTS = `with payments as (
    select bucket, user_id, payment_id, min(currency) as currency, max(payment_minor) as paid, sum(amount_minor) as lines,
      min(created_at) as booked_at, min(paid_at) as paid_at
    from paid_lines where created_at < $2 group by 1, 2, 3)
  select currency, sum(paid) as "bookedMinor", coalesce(sum(paid) filter (where paid_at < $1), 0) as "paidEarlierMinor",
    sum(paid - lines) as "otherMinor"
  from payments where booked_at >= $1 group by 1 order by 1`;

export interface Totals {
  /** Σ entries; Σ of what each user's newest entry says; Σ debt. */
  ledgerTokens: number;
  balanceTokens: number;
  debtTokens: number;
  overageTokens: number;
  /** Users for whom something of the month is still due. */
  dueUsers: number;
}

const TOTALS = `select "ledgerTokens", "debtTokens", "overageTokens", "balanceTokens", "dueUsers"
  from (select coalesce(sum(tokens), 0) as "ledgerTokens", coalesce(sum(debt_delta_tokens), 0) as "debtTokens",
      coalesce(sum(overage_tokens) filter (where created_at >= $1), 0) as "overageTokens"
    from ledger_entries where created_at < $2) entries
  cross join (select coalesce(sum(balance_after), 0) as "balanceTokens" from (
      select distinct on (bucket, user_id) bucket, user_id, balance_after from ledger_entries where created_at < $2
      order by bucket, user_id, seq desc) newest) balances
  cross join (select count(*) as "dueUsers" from users where next_due_at < $2) due`;

export interface Books {
  credits: CreditRow[];
  lines: LineRow[];
  payments: PaymentRow[];
  totals: Totals;
}

/** All of one instant. It reads the whole ledger up to the end of the month. */
export function readBooks(pool: Pool, { start, end }: Month): Promise<Books> {
  return inReport(pool, async (tx) => {
    const values = [start, end];
    const credits = await tx.query<CreditRow>(CREDITS, values);
    const lines = await tx.query<LineRow>(LINES, values);
    const payments = await tx.query<PaymentRow>(PAYMENTS, values);
    const totals = await tx.query<Totals>(TOTALS, values);
    const [row] = totals.rows;
    if (!row) throw new Error('The database gave no totals.');
    return { credits: credits.rows, lines: lines.rows, payments: payments.rows, totals: row };
  });
}

export interface Booking {
  paymentId: string;
  userId: string;
  currency: string;
  paidMinor: number;
  paidAt: Date;
  bookedAt: Date;
}

const BOOKING = `select payment_id as "paymentId", user_id as "userId", min(currency) as currency,
  max(payment_minor) as "paidMinor", min(paid_at) as "paidAt", min(created_at) as "bookedAt" from paid_lines`;

/** How these payments were booked. */
export async function findBookings(
  db: Queryable,
  userIds: readonly string[],
  paymentIds: readonly string[],
): Promise<Map<string, Booking>> {
  const buckets = [...new Set(userIds.map(bucketOf))];
  const { rows } = await db.query<Booking>(
    `${BOOKING} where bucket = any($1::smallint[]) and user_id = any($2) and payment_id = any($3) group by 1, 2`,
    [buckets, userIds, paymentIds],
  );
  return new Map(rows.map((row) => [row.paymentId, row]));
}

/** What we have as paid in the month, by payment id from above `after`. */
export async function listPaidIn(
  db: Queryable,
  { start, end }: Month,
  after: string,
  limit: number,
): Promise<Booking[]> {
  const { rows } = await db.query<Booking>(
    `${BOOKING} where paid_at >= $1 and paid_at < $2 and payment_id > $3 group by 1, 2 order by 1 limit $4`,
    [start, end, after, limit],
  );
  return rows;
}
