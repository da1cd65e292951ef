-- CreateEnum
CREATE TYPE "grant_source" AS ENUM ('allowance', 'bonus', 'adjustment', 'top_up');

-- CreateEnum
CREATE TYPE "entry_type" AS ENUM ('granted', 'consumed', 'refunded', 'expired', 'voided');

-- CreateEnum
CREATE TYPE "hold_status" AS ENUM ('open', 'captured', 'released', 'expired');

-- CreateEnum
CREATE TYPE "stripe_event_status" AS ENUM ('pending', 'handled', 'ignored', 'parked', 'failed');

-- CreateEnum
CREATE TYPE "workflow_status" AS ENUM ('pending', 'running', 'succeeded', 'failed');

-- CreateTable
CREATE TABLE "users" (
    "bucket" SMALLINT NOT NULL,
    "id" TEXT NOT NULL,
    "credits" BIGINT NOT NULL GENERATED ALWAYS AS (available_tokens / 2000) STORED,
    "available_tokens" BIGINT NOT NULL DEFAULT 0,
    "held_tokens" BIGINT NOT NULL DEFAULT 0,
    "debt_tokens" BIGINT NOT NULL DEFAULT 0,
    "total_tokens_used" BIGINT NOT NULL DEFAULT 0,
    "monthly_tokens_used" BIGINT NOT NULL DEFAULT 0,
    "monthly_reset_date" TIMESTAMPTZ(3) NOT NULL,
    "period_end" TIMESTAMPTZ(3) NOT NULL,
    "period_anchor" TIMESTAMPTZ(3) NOT NULL,
    "free_allowance_start" TIMESTAMPTZ(3),
    "is_subscribed" BOOLEAN NOT NULL DEFAULT false,
    "subscription_tier" TEXT NOT NULL DEFAULT 'free',
    "subscription_ends_at" TIMESTAMPTZ(3),
    "access_ends_at" TIMESTAMPTZ(3),
    "current_subscription_id" TEXT,
    "stripe_customer_id" TEXT,
    "is_metered" BOOLEAN NOT NULL DEFAULT false,
    "head_grant_id" TEXT,
    "head_remaining_tokens" BIGINT NOT NULL DEFAULT 0,
    "last_seq" BIGINT NOT NULL DEFAULT 0,
    "next_due_at" TIMESTAMPTZ(3) NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "users_pkey" PRIMARY KEY ("bucket","id")
);

-- CreateTable
CREATE TABLE "user_profiles" (
    "bucket" SMALLINT NOT NULL,
    "user_id" TEXT NOT NULL,
    "email" TEXT,
    "name" TEXT,

    CONSTRAINT "user_profiles_pkey" PRIMARY KEY ("bucket","user_id")
);

-- CreateTable
CREATE TABLE "credit_grants" (
    "bucket" SMALLINT NOT NULL,
    "id" TEXT NOT NULL,
    "user_id" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "source" "grant_source" NOT NULL,
    "amount_tokens" BIGINT NOT NULL,
    "remaining_tokens" BIGINT NOT NULL,
    "held_tokens" BIGINT NOT NULL DEFAULT 0,
    "priority" SMALLINT NOT NULL DEFAULT 50,
    "effective_at" TIMESTAMPTZ(3) NOT NULL,
    "expires_at" TIMESTAMPTZ(3),
    "closed_at" TIMESTAMPTZ(3),
    "voided_at" TIMESTAMPTZ(3),
    "offer" TEXT,
    "reason" TEXT,
    "cost_basis_minor" BIGINT,
    "currency" TEXT,
    "invoice_id" TEXT,
    "invoice_line_id" TEXT,
    "subscription_id" TEXT,
    "subscription_item_id" TEXT,
    "window_start" TIMESTAMPTZ(3),
    "window_end" TIMESTAMPTZ(3),
    "window_kind" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "credit_grants_pkey" PRIMARY KEY ("bucket","id")
);

-- CreateTable
CREATE TABLE "ledger_entries" (
    "bucket" SMALLINT NOT NULL,
    "user_id" TEXT NOT NULL,
    "seq" BIGINT NOT NULL,
    "type" "entry_type" NOT NULL,
    "tokens" BIGINT NOT NULL,
    "balance_after" BIGINT NOT NULL,
    "available_after" BIGINT NOT NULL,
    "total_used_after" BIGINT NOT NULL,
    "overage_tokens" BIGINT NOT NULL DEFAULT 0,
    "debt_delta_tokens" BIGINT NOT NULL DEFAULT 0,
    "grant_id" TEXT,
    "parts" JSONB,
    "key" TEXT NOT NULL,
    "request_hash" BYTEA,
    "feature" TEXT,
    "reason" TEXT,
    "metadata" JSONB,
    "refers_to_seq" BIGINT,
    "hold_id" TEXT,
    "request_id" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "ledger_entries_pkey" PRIMARY KEY ("bucket","user_id","seq")
);

-- CreateTable
CREATE TABLE "holds" (
    "bucket" SMALLINT NOT NULL,
    "id" TEXT NOT NULL,
    "user_id" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "tokens" BIGINT NOT NULL,
    "parts" JSONB NOT NULL,
    "status" "hold_status" NOT NULL DEFAULT 'open',
    "feature" TEXT,
    "metadata" JSONB,
    "captured_tokens" BIGINT,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "settled_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "holds_pkey" PRIMARY KEY ("bucket","id")
);

-- CreateTable
CREATE TABLE "subscriptions" (
    "bucket" SMALLINT NOT NULL,
    "user_id" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "customer_id" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    "plan" TEXT,
    "price_id" TEXT NOT NULL,
    "lookup_key" TEXT,
    "interval" TEXT NOT NULL,
    "quantity" INTEGER NOT NULL,
    "item_id" TEXT NOT NULL,
    "current_period_start" TIMESTAMPTZ(3) NOT NULL,
    "current_period_end" TIMESTAMPTZ(3) NOT NULL,
    "trial_end" TIMESTAMPTZ(3),
    "cancel_at" TIMESTAMPTZ(3),
    "canceled_at" TIMESTAMPTZ(3),
    "ended_at" TIMESTAMPTZ(3),
    "started_at" TIMESTAMPTZ(3) NOT NULL,
    "latest_invoice_id" TEXT,
    "paid_term" JSONB,
    "last_ticket" BIGINT NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "subscriptions_pkey" PRIMARY KEY ("bucket","user_id","id")
);

-- CreateTable
CREATE TABLE "stripe_customers" (
    "id" TEXT NOT NULL,
    "user_id" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "stripe_customers_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "stripe_events" (
    "id" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    "api_version" TEXT,
    "livemode" BOOLEAN NOT NULL,
    "object_id" TEXT,
    "customer_id" TEXT,
    "status" "stripe_event_status" NOT NULL DEFAULT 'pending',
    "origin" TEXT NOT NULL,
    "deliveries" INTEGER NOT NULL DEFAULT 1,
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "next_attempt_at" TIMESTAMPTZ(3) NOT NULL,
    "last_error" TEXT,
    "outcome" TEXT,
    "user_id" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "received_at" TIMESTAMPTZ(3) NOT NULL,
    "handled_at" TIMESTAMPTZ(3),

    CONSTRAINT "stripe_events_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "workflows" (
    "bucket" SMALLINT NOT NULL,
    "id" TEXT NOT NULL,
    "user_id" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "input" JSONB NOT NULL,
    "status" "workflow_status" NOT NULL DEFAULT 'pending',
    "result" JSONB,
    "error" TEXT,
    "entry_seq" BIGINT NOT NULL,
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "finished_at" TIMESTAMPTZ(3),

    CONSTRAINT "workflows_pkey" PRIMARY KEY ("bucket","id")
);

-- CreateTable
CREATE TABLE "idempotency_records" (
    "bucket" SMALLINT NOT NULL,
    "user_id" TEXT NOT NULL,
    "scope" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "request_hash" BYTEA NOT NULL,
    "status" INTEGER,
    "body" JSON,
    "lease_until" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "idempotency_records_pkey" PRIMARY KEY ("bucket","user_id","scope","key")
);

-- CreateTable
CREATE TABLE "api_keys" (
    "id" TEXT NOT NULL,
    "prefix" TEXT NOT NULL,
    "secret_hash" BYTEA NOT NULL,
    "name" TEXT NOT NULL,
    "scopes" TEXT[],
    "created_at" TIMESTAMPTZ(3) NOT NULL,
    "revoked_at" TIMESTAMPTZ(3),

    CONSTRAINT "api_keys_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "audit_entries" (
    "id" TEXT NOT NULL,
    "actor" TEXT NOT NULL,
    "action" TEXT NOT NULL,
    "user_id" TEXT,
    "subject" TEXT,
    "reason" TEXT,
    "details" JSONB,
    "created_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "audit_entries_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "sync_cursors" (
    "name" TEXT NOT NULL,
    "position" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "sync_cursors_pkey" PRIMARY KEY ("name")
);

-- CreateTable
CREATE TABLE "reconciliation_runs" (
    "id" TEXT NOT NULL,
    "started_at" TIMESTAMPTZ(3) NOT NULL,
    "finished_at" TIMESTAMPTZ(3),

    CONSTRAINT "reconciliation_runs_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "reconciliation_differences" (
    "id" TEXT NOT NULL,
    "run_id" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "user_id" TEXT,
    "stripe_side" JSONB NOT NULL,
    "our_side" JSONB NOT NULL,
    "repaired_at" TIMESTAMPTZ(3),

    CONSTRAINT "reconciliation_differences_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "users_bucket_next_due_at_idx" ON "users"("bucket", "next_due_at");

-- CreateIndex
CREATE UNIQUE INDEX "credit_grants_bucket_user_id_key_key" ON "credit_grants"("bucket", "user_id", "key");

-- CreateIndex
CREATE UNIQUE INDEX "credit_grants_one_allowance_per_window" ON "credit_grants"("bucket", "user_id", "subscription_item_id", "window_start", "window_kind");

-- CreateIndex
CREATE UNIQUE INDEX "ledger_entries_bucket_user_id_key_key" ON "ledger_entries"("bucket", "user_id", "key");

-- CreateIndex
CREATE UNIQUE INDEX "holds_bucket_user_id_key_key" ON "holds"("bucket", "user_id", "key");

-- CreateIndex
CREATE UNIQUE INDEX "stripe_customers_user_id_key" ON "stripe_customers"("user_id");

-- CreateIndex
CREATE INDEX "stripe_events_status_next_attempt_at_idx" ON "stripe_events"("status", "next_attempt_at");

-- CreateIndex
CREATE INDEX "stripe_events_received_at_id_idx" ON "stripe_events"("received_at", "id");

-- CreateIndex
CREATE INDEX "workflows_bucket_user_id_created_at_idx" ON "workflows"("bucket", "user_id", "created_at");

-- CreateIndex
CREATE UNIQUE INDEX "api_keys_prefix_key" ON "api_keys"("prefix");

-- CreateIndex
CREATE INDEX "audit_entries_created_at_idx" ON "audit_entries"("created_at");

-- AddForeignKey
ALTER TABLE "user_profiles" ADD CONSTRAINT "user_profiles_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "credit_grants" ADD CONSTRAINT "credit_grants_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "ledger_entries" ADD CONSTRAINT "ledger_entries_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "holds" ADD CONSTRAINT "holds_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "subscriptions" ADD CONSTRAINT "subscriptions_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "workflows" ADD CONSTRAINT "workflows_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "idempotency_records" ADD CONSTRAINT "idempotency_records_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "reconciliation_differences" ADD CONSTRAINT "reconciliation_differences_run_id_fkey" FOREIGN KEY ("run_id") REFERENCES "reconciliation_runs"("id") ON DELETE RESTRICT ON UPDATE CASCADE;


-- ── By hand: what Prisma cannot say ─────────────────────────────────────────────────────────────────────────────────

-- Room on the page for the next version of a row, so that a consume stays a HOT update.
ALTER TABLE "users" SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE "credit_grants" SET (fillfactor = 80);

-- Invariant I2, and the bound under which every number is exact in JSON and in JavaScript.
ALTER TABLE "users"
    ADD CONSTRAINT "users_tokens_in_range" CHECK (
        available_tokens BETWEEN 0 AND 9007199254740991 AND held_tokens >= 0 AND debt_tokens >= 0
        AND total_tokens_used BETWEEN 0 AND 9007199254740991 AND monthly_tokens_used >= 0
        AND head_remaining_tokens BETWEEN 0 AND available_tokens),
    ADD CONSTRAINT "users_head_has_grant" CHECK (head_grant_id IS NOT NULL OR head_remaining_tokens = 0),
    ADD CONSTRAINT "users_bucket_in_range" CHECK (bucket BETWEEN 0 AND 1023);
ALTER TABLE "credit_grants"
    ADD CONSTRAINT "credit_grants_tokens_in_range" CHECK (
        amount_tokens > 0 AND remaining_tokens >= 0 AND held_tokens >= 0
        AND remaining_tokens + held_tokens <= amount_tokens);
ALTER TABLE "ledger_entries"
    ADD CONSTRAINT "ledger_entries_sign" CHECK (
        CASE type WHEN 'granted' THEN tokens > 0 WHEN 'refunded' THEN tokens >= 0 ELSE tokens <= 0 END),
    ADD CONSTRAINT "ledger_entries_seq_positive" CHECK (seq > 0 AND overage_tokens >= 0);
ALTER TABLE "holds"
    ADD CONSTRAINT "holds_tokens_positive" CHECK (tokens > 0 AND (status = 'open') = (settled_at IS NULL));

-- The grants that a locked user needs: few, whatever the history.
CREATE INDEX "credit_grants_open" ON "credit_grants" (bucket, user_id) WHERE closed_at IS NULL OR held_tokens > 0;
CREATE INDEX "holds_open" ON "holds" (bucket, user_id) WHERE status = 'open';
CREATE INDEX "ledger_entries_refunds" ON "ledger_entries" (bucket, user_id, refers_to_seq) WHERE refers_to_seq IS NOT NULL;
CREATE INDEX "workflows_unfinished" ON "workflows" (created_at) WHERE status IN ('pending', 'running');

-- Order of reading Stripe: a snapshot is taken only if its ticket, drawn before the fetch, is the newer one.
CREATE SEQUENCE "fetch_tickets";

-- Invariant I10: entries never change.
CREATE FUNCTION "refuse_ledger_change"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger_entries is append-only: correct with a new entry' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER "ledger_entries_append_only" BEFORE UPDATE OR DELETE ON "ledger_entries"
    FOR EACH ROW EXECUTE FUNCTION "refuse_ledger_change"();
CREATE TRIGGER "ledger_entries_no_truncate" BEFORE TRUNCATE ON "ledger_entries"
    FOR EACH STATEMENT EXECUTE FUNCTION "refuse_ledger_change"();

-- ── Invariants: each view lists violations and is empty on a sound ledger ──────────────────────────────────────────

-- What truly remains in each grant: the head's part is on the user row.
CREATE VIEW "grant_balances" AS
SELECT g.bucket, g.user_id, g.id, g.amount_tokens, g.held_tokens, g.closed_at,
       CASE WHEN u.head_grant_id = g.id THEN u.head_remaining_tokens ELSE g.remaining_tokens END AS remaining_tokens
FROM credit_grants g JOIN users u ON u.bucket = g.bucket AND u.id = g.user_id;

-- How each entry changed each grant.
CREATE VIEW "entry_parts" AS
SELECT e.bucket, e.user_id, e.seq, e.type, e.grant_id, e.tokens + e.debt_delta_tokens AS tokens
FROM ledger_entries e WHERE e.parts IS NULL AND e.grant_id IS NOT NULL
UNION ALL
SELECT e.bucket, e.user_id, e.seq, e.type, p.part ->> 'grantId', (p.part ->> 'tokens')::bigint
FROM ledger_entries e CROSS JOIN LATERAL jsonb_array_elements(e.parts) AS p(part) WHERE e.parts IS NOT NULL;

CREATE VIEW "invariant_i1_balance" AS
SELECT u.bucket, u.id AS user_id,
       format('entries %s (%s of seq %s), grants %s + %s held, holds %s, row %s + %s held - %s debt',
              e.total, e.count, e.newest, g.remaining, g.held, h.held, u.available_tokens, u.held_tokens, u.debt_tokens) AS detail
FROM users u
CROSS JOIN LATERAL (SELECT coalesce(sum(tokens), 0) AS total, coalesce(max(seq), 0) AS newest, count(*) AS count
                    FROM ledger_entries WHERE bucket = u.bucket AND user_id = u.id) e
CROSS JOIN LATERAL (SELECT coalesce(sum(remaining_tokens), 0) AS remaining, coalesce(sum(held_tokens), 0) AS held
                    FROM grant_balances WHERE bucket = u.bucket AND user_id = u.id) g
CROSS JOIN LATERAL (SELECT coalesce(sum((p.part ->> 'tokens')::bigint), 0) AS held
                    FROM holds CROSS JOIN LATERAL jsonb_array_elements(holds.parts) AS p(part)
                    WHERE holds.bucket = u.bucket AND holds.user_id = u.id AND holds.status = 'open') h
WHERE e.total <> u.available_tokens + u.held_tokens - u.debt_tokens
   OR g.remaining <> u.available_tokens OR g.held <> u.held_tokens OR h.held <> u.held_tokens
   OR e.newest <> u.last_seq OR e.count <> e.newest;

CREATE VIEW "invariant_i1_chain" AS
SELECT bucket, user_id, format('entry %s says %s after %s and %s', seq, balance_after, before, tokens) AS detail
FROM (SELECT bucket, user_id, seq, tokens, balance_after,
             coalesce(lag(balance_after) OVER (PARTITION BY bucket, user_id ORDER BY seq), 0) AS before
      FROM ledger_entries) chained
WHERE balance_after <> before + tokens;

CREATE VIEW "invariant_i2_negative" AS
SELECT bucket, id AS user_id, 'a negative number on the user row' AS detail FROM users
WHERE least(available_tokens, held_tokens, debt_tokens, total_tokens_used, monthly_tokens_used, head_remaining_tokens) < 0
UNION ALL
SELECT bucket, user_id, format('grant %s holds a negative number', id) FROM grant_balances
WHERE least(remaining_tokens, held_tokens) < 0;

CREATE VIEW "invariant_i3_grants" AS
SELECT g.bucket, g.user_id, format('grant %s: amount %s, granted %s, moved %s, remaining %s + %s held',
                                   g.id, g.amount_tokens, p.granted, p.moved, g.remaining_tokens, g.held_tokens) AS detail
FROM grant_balances g
CROSS JOIN LATERAL (
    SELECT coalesce(sum(ep.tokens), 0) AS moved,
           (SELECT coalesce(sum(le.tokens), 0) FROM ledger_entries le
            WHERE le.bucket = g.bucket AND le.user_id = g.user_id AND le.type = 'granted' AND le.grant_id = g.id) AS granted
    FROM entry_parts ep WHERE ep.bucket = g.bucket AND ep.user_id = g.user_id AND ep.grant_id = g.id) p
WHERE p.granted <> g.amount_tokens OR p.moved <> g.remaining_tokens + g.held_tokens;

CREATE VIEW "invariant_i4_sources" AS
SELECT bucket, user_id, format('grant %s (%s) names no single source', id, key) AS detail FROM credit_grants
WHERE (key LIKE 'inv:%') <> (invoice_id IS NOT NULL AND invoice_line_id IS NOT NULL)
   OR (source = 'allowance' AND (window_start IS NULL OR window_end IS NULL));

CREATE VIEW "invariant_i5_clawed" AS
SELECT g.bucket, g.user_id, format('grant %s: more voided than granted', g.id) AS detail
FROM credit_grants g
WHERE g.amount_tokens < (SELECT -coalesce(sum(tokens), 0) FROM entry_parts ep
                         WHERE ep.bucket = g.bucket AND ep.user_id = g.user_id AND ep.grant_id = g.id AND ep.type = 'voided');

CREATE VIEW "invariant_i6_keys" AS
SELECT bucket, user_id, format('key %s took effect %s times', key, count(*)) AS detail
FROM ledger_entries GROUP BY bucket, user_id, key HAVING count(*) > 1;

-- A plan given or renewed by hand is an act of its own, keyed by its caller, and may repeat a window.
CREATE VIEW "invariant_i7_allowances" AS
SELECT bucket, user_id, format('%s allowances of %s for the window from %s', count(*), offer, window_start) AS detail
FROM credit_grants WHERE source = 'allowance' AND window_kind = 'full' AND key !~ '^(plan|renew):'
GROUP BY bucket, user_id, offer, subscription_item_id, window_start HAVING count(*) > 1;

CREATE VIEW "invariant_i9_inbox" AS
SELECT NULL::smallint AS bucket, user_id, format('event %s is %s without what that needs', id, status) AS detail FROM stripe_events
WHERE (status IN ('handled', 'ignored') AND handled_at IS NULL) OR (status = 'failed' AND last_error IS NULL);

CREATE VIEW "invariant_i10_append_only" AS
SELECT NULL::smallint AS bucket, NULL::text AS user_id, format('trigger %s is missing or disabled', wanted.name) AS detail
FROM (VALUES ('ledger_entries_append_only'), ('ledger_entries_no_truncate')) wanted(name)
WHERE NOT EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgname = wanted.name AND t.tgenabled <> 'D');
