// A ledger that agrees with bench/fake-stripe.ts, written in bulk.
import pg from 'pg';
import { bucketOf } from '../src/store/bucket.ts';
import { AMOUNT_MINOR, idOf, PERIOD, PRICE } from './fake-stripe.ts';

const TOKENS = 200_000;
const DAY = 86_400;
const CHUNK = 1000;
const iso = (seconds: number): string => new Date(seconds * 1000).toISOString();

/** What all rows of one user say. */
function namesOf(index: number) {
  const userId = idOf('user', index);
  const [subscription, item, invoice, line] = ['sub', 'si', 'in', 'il'].map((prefix) => idOf(prefix, index));
  return {
    userId,
    own: { bucket: bucketOf(userId), user_id: userId },
    at: { created_at: iso(PERIOD.start) },
    customer: idOf('cus', index),
    grant: idOf('gr', index),
    key: `inv:${invoice}:${line}`,
    subscription,
    item,
    invoice,
    line,
  };
}
type Names = ReturnType<typeof namesOf>;

const GRACE_END = iso(PERIOD.end + 7 * DAY);

const ROWS: Record<string, (names: Names) => object> = {
  users: ({ userId, own, at, customer, grant, subscription }) => ({
    bucket: own.bucket,
    id: userId,
    available_tokens: TOKENS,
    held_tokens: 0,
    debt_tokens: 0,
    total_tokens_used: 0,
    monthly_tokens_used: 0,
    monthly_reset_date: iso(PERIOD.start),
    period_end: iso(PERIOD.end),
    period_anchor: iso(PERIOD.start),
    is_subscribed: true,
    subscription_tier: 'pro',
    subscription_ends_at: iso(PERIOD.end),
    access_ends_at: GRACE_END,
    current_subscription_id: subscription,
    stripe_customer_id: customer,
    is_metered: false,
    head_grant_id: grant,
    head_source: 'allowance',
    head_remaining_tokens: TOKENS,
    last_seq: 1,
    next_due_at: GRACE_END,
    updated_at: iso(PERIOD.start),
    ...at,
  }),
  stripe_customers: ({ userId, at, customer }) => ({ id: customer, user_id: userId, ...at }),
  subscriptions: ({ own, customer, subscription, item, invoice }) => ({
    ...own,
    id: subscription,
    customer_id: customer,
    status: 'active',
    plan: 'pro',
    price_id: PRICE,
    lookup_key: 'pro_monthly',
    interval: 'month',
    quantity: 1,
    item_id: item,
    current_period_start: iso(PERIOD.start),
    current_period_end: iso(PERIOD.end),
    started_at: iso(PERIOD.start),
    latest_invoice_id: invoice,
    last_ticket: 1,
    updated_at: iso(PERIOD.start),
  }),
  paid_lines: ({ own, at, key, subscription, item, invoice, line }) => ({
    ...own,
    key,
    kind: 'full',
    payment_id: invoice,
    line_id: line,
    subscription_id: subscription,
    item_id: item,
    offer: 'pro',
    interval: 'month',
    quantity: 1,
    amount_minor: AMOUNT_MINOR,
    currency: 'usd',
    starts_at: iso(PERIOD.start),
    ends_at: iso(PERIOD.end),
    paid_at: iso(PERIOD.start),
    payment_minor: AMOUNT_MINOR,
    refunded_minor: 0,
    disputed_minor: 0,
    credited_minor: 0,
    money_ticket: 1,
    ...at,
  }),
  credit_grants: ({ own, at, grant, key, subscription, item, invoice, line }) => ({
    ...own,
    id: grant,
    key,
    source: 'allowance',
    amount_tokens: TOKENS,
    remaining_tokens: TOKENS,
    held_tokens: 0,
    priority: 50,
    effective_at: iso(PERIOD.start),
    expires_at: GRACE_END,
    offer: 'pro',
    cost_basis_minor: AMOUNT_MINOR,
    currency: 'usd',
    invoice_id: invoice,
    invoice_line_id: line,
    subscription_id: subscription,
    subscription_item_id: item,
    window_start: iso(PERIOD.start),
    window_end: iso(PERIOD.end),
    window_kind: 'full',
    ...at,
  }),
  ledger_entries: ({ own, at, grant, key }) => ({
    ...own,
    seq: 1,
    type: 'granted',
    tokens: TOKENS,
    balance_after: TOKENS,
    available_after: TOKENS,
    total_used_after: 0,
    grant_id: grant,
    key,
    ...at,
  }),
};

export async function fill(databaseUrl: string, count: number): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    for (let first = 0; first < count; first += CHUNK) {
      const size = Math.min(CHUNK, count - first);
      const all = Array.from({ length: size }, (_, offset) => namesOf(first + offset));
      for (const [table, rowOf] of Object.entries(ROWS)) {
        const rows = all.map(rowOf);
        const columns = Object.keys(rows[0] ?? {}).join(', ');
        await client.query(
          `insert into ${table} (${columns}) select ${columns} from jsonb_populate_recordset(null::${table}, $1::jsonb)`,
          [JSON.stringify(rows)],
        );
      }
    }
    await client.query('analyze');
  } finally {
    await client.end();
  }
}
