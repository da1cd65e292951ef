-- DropIndex
DROP INDEX "stripe_customers_user_id_key";

-- AlterTable
ALTER TABLE "credit_grants" ADD COLUMN     "checkout_session_id" TEXT,
ADD COLUMN     "claw_debt_tokens" BIGINT NOT NULL DEFAULT 0,
ADD COLUMN     "claw_target_tokens" BIGINT NOT NULL DEFAULT 0,
ADD COLUMN     "clawed_tokens" BIGINT NOT NULL DEFAULT 0,
ADD COLUMN     "expired_tokens" BIGINT NOT NULL DEFAULT 0,
ADD COLUMN     "is_withheld" BOOLEAN NOT NULL DEFAULT false,
ADD COLUMN     "settled_debt_tokens" BIGINT NOT NULL DEFAULT 0,
ADD COLUMN     "voided_tokens" BIGINT NOT NULL DEFAULT 0;

-- AlterTable
ALTER TABLE "stripe_customers" ADD COLUMN     "deleted_at" TIMESTAMPTZ(3);

-- CreateTable
CREATE TABLE "paid_lines" (
    "bucket" SMALLINT NOT NULL,
    "user_id" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "payment_id" TEXT NOT NULL,
    "line_id" TEXT NOT NULL,
    "subscription_id" TEXT,
    "item_id" TEXT,
    "offer" TEXT,
    "interval" TEXT,
    "quantity" INTEGER NOT NULL,
    "amount_minor" BIGINT NOT NULL,
    "currency" TEXT NOT NULL,
    "starts_at" TIMESTAMPTZ(3) NOT NULL,
    "ends_at" TIMESTAMPTZ(3) NOT NULL,
    "paid_at" TIMESTAMPTZ(3) NOT NULL,
    "note" TEXT,
    "payment_minor" BIGINT NOT NULL,
    "refunded_minor" BIGINT NOT NULL,
    "disputed_minor" BIGINT NOT NULL,
    "credited_minor" BIGINT NOT NULL,
    "money_ticket" BIGINT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "paid_lines_pkey" PRIMARY KEY ("bucket","user_id","key")
);

-- CreateIndex
CREATE INDEX "stripe_customers_user_id_idx" ON "stripe_customers"("user_id");

-- AddForeignKey
ALTER TABLE "paid_lines" ADD CONSTRAINT "paid_lines_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE CASCADE;


-- ── By hand ─────────────────────────────────────────────────────────────────────────────────────────────────────────

-- What was known of a paid line so far moves to its own row; the next sync or reconciliation reads the money facts.
INSERT INTO "paid_lines" (bucket, user_id, key, kind, payment_id, line_id, subscription_id, item_id, offer, interval,
    quantity, amount_minor, currency, starts_at, ends_at, paid_at, payment_minor, refunded_minor, disputed_minor,
    credited_minor, money_ticket, created_at)
SELECT bucket, user_id, format('inv:%s:%s', t ->> 'invoiceId', t ->> 'lineId'),
       CASE WHEN (t ->> 'isTopUp')::boolean THEN 'delta' ELSE 'full' END,
       t ->> 'invoiceId', t ->> 'lineId', id, coalesce(t ->> 'itemId', item_id), t ->> 'plan', t ->> 'interval',
       (t ->> 'quantity')::int, (t ->> 'amountMinor')::bigint, t ->> 'currency', (t ->> 'start')::timestamptz,
       (t ->> 'end')::timestamptz, (t ->> 'start')::timestamptz, (t ->> 'amountMinor')::bigint, 0, 0, 0, 0, updated_at
FROM (SELECT *, paid_term AS t FROM subscriptions WHERE paid_term IS NOT NULL) known;
ALTER TABLE "subscriptions" DROP COLUMN "paid_term";

UPDATE credit_grants SET checkout_session_id = split_part(key, ':', 2) WHERE key LIKE 'pack:%';
UPDATE credit_grants g SET
    expired_tokens = (SELECT -coalesce(sum(tokens), 0) FROM entry_parts p
                      WHERE p.bucket = g.bucket AND p.user_id = g.user_id AND p.grant_id = g.id AND p.type = 'expired'),
    voided_tokens = (SELECT -coalesce(sum(tokens), 0) FROM entry_parts p
                     WHERE p.bucket = g.bucket AND p.user_id = g.user_id AND p.grant_id = g.id AND p.type = 'voided');

-- One living customer per user.
CREATE UNIQUE INDEX "stripe_customers_living" ON "stripe_customers" (user_id) WHERE deleted_at IS NULL;

-- Grants that settled debt are at hand as well: they get those tokens back when the debt is void.
DROP INDEX "credit_grants_open";
CREATE INDEX "credit_grants_open" ON "credit_grants" (bucket, user_id)
    WHERE closed_at IS NULL OR held_tokens > 0 OR settled_debt_tokens > 0;

ALTER TABLE "credit_grants" ADD CONSTRAINT "credit_grants_leavings_in_range" CHECK (
    expired_tokens >= 0 AND voided_tokens >= 0 AND clawed_tokens >= 0 AND settled_debt_tokens >= 0
    AND claw_debt_tokens >= 0 AND clawed_tokens + claw_debt_tokens <= claw_target_tokens
    AND claw_target_tokens <= amount_tokens
    AND remaining_tokens + held_tokens + expired_tokens + voided_tokens + clawed_tokens <= amount_tokens);

-- A void may be undone: a won dispute, a subscription that counts again.
ALTER TABLE "ledger_entries" DROP CONSTRAINT "ledger_entries_sign";
ALTER TABLE "ledger_entries" ADD CONSTRAINT "ledger_entries_sign" CHECK (
    CASE type WHEN 'granted' THEN tokens > 0 WHEN 'refunded' THEN tokens >= 0 WHEN 'voided' THEN true ELSE tokens <= 0 END);

-- Invariant I3, now with what left unused.
CREATE OR REPLACE VIEW "invariant_i3_grants" AS
SELECT g.bucket, g.user_id, format('grant %s: amount %s, granted %s, moved %s, remaining %s + %s held, expired %s of %s, voided %s of %s + %s clawed',
                                   g.id, g.amount_tokens, p.granted, p.moved, b.remaining_tokens, g.held_tokens,
                                   p.expired, g.expired_tokens, p.voided, g.voided_tokens, g.clawed_tokens) AS detail
FROM credit_grants g
JOIN grant_balances b ON b.bucket = g.bucket AND b.user_id = g.user_id AND b.id = g.id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(ep.tokens), 0) AS moved,
           coalesce(-sum(ep.tokens) FILTER (WHERE ep.type = 'expired'), 0) AS expired,
           coalesce(-sum(ep.tokens) FILTER (WHERE ep.type = 'voided'), 0) AS voided,
           (SELECT coalesce(sum(le.tokens), 0) FROM ledger_entries le
            WHERE le.bucket = g.bucket AND le.user_id = g.user_id AND le.type = 'granted' AND le.grant_id = g.id) AS granted
    FROM entry_parts ep WHERE ep.bucket = g.bucket AND ep.user_id = g.user_id AND ep.grant_id = g.id) p
WHERE p.granted <> g.amount_tokens OR p.moved <> b.remaining_tokens + g.held_tokens
   OR p.expired <> g.expired_tokens OR p.voided <> g.voided_tokens + g.clawed_tokens;

-- Invariant I4, now also of packs, and every paid line of a catalogue price has its grant.
CREATE OR REPLACE VIEW "invariant_i4_sources" AS
SELECT bucket, user_id, format('grant %s (%s) names no single source', id, key) AS detail FROM credit_grants
WHERE (key LIKE 'inv:%') <> (invoice_id IS NOT NULL AND invoice_line_id IS NOT NULL)
   OR (key LIKE 'pack:%') <> (checkout_session_id IS NOT NULL)
   OR (source = 'allowance' AND (window_start IS NULL OR window_end IS NULL))
UNION ALL
SELECT bucket, user_id, format('grant %s (%s) was bought with no line that is known', id, key) FROM credit_grants g
WHERE coalesce(invoice_id, checkout_session_id) IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM paid_lines l WHERE l.bucket = g.bucket AND l.user_id = g.user_id
       AND l.key = CASE WHEN g.key LIKE 'inv:%' THEN format('inv:%s:%s', g.invoice_id, g.invoice_line_id) ELSE g.key END);

-- Invariant I5, now with debt: what was clawed and owed is exactly what the grants say, and settled debt is on its grant.
CREATE OR REPLACE VIEW "invariant_i5_clawed" AS
SELECT g.bucket, g.user_id, format('grant %s: %s clawed and %s owed of %s, amount %s', g.id, g.clawed_tokens,
                                   g.claw_debt_tokens, g.claw_target_tokens, g.amount_tokens) AS detail
FROM credit_grants g
WHERE g.claw_target_tokens > g.amount_tokens OR g.clawed_tokens + g.claw_debt_tokens > g.claw_target_tokens
UNION ALL
SELECT u.bucket, u.id, format('owed by grants %s, debt %s, settled %s', g.owed, u.debt_tokens, g.settled)
FROM users u CROSS JOIN LATERAL (
    SELECT coalesce(sum(claw_debt_tokens), 0) AS owed, coalesce(sum(settled_debt_tokens), 0) AS settled
    FROM credit_grants WHERE bucket = u.bucket AND user_id = u.id) g
WHERE g.owed <> u.debt_tokens + g.settled;
