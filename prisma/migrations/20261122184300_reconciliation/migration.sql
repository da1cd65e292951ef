-- CreateEnum
CREATE TYPE "reconciliation_status" AS ENUM ('pending', 'running', 'finished', 'failed');

-- CreateEnum
CREATE TYPE "repair_state" AS ENUM ('open', 'repaired', 'needs_person');

-- AlterTable
ALTER TABLE "reconciliation_differences" ADD COLUMN     "created_at" TIMESTAMPTZ(3) NOT NULL,
ADD COLUMN     "currency" TEXT,
ADD COLUMN     "error" TEXT,
ADD COLUMN     "grant_id" TEXT,
ADD COLUMN     "money_minor" BIGINT,
ADD COLUMN     "outcome" TEXT,
ADD COLUMN     "payment_id" TEXT,
ADD COLUMN     "repair" "repair_state" NOT NULL DEFAULT 'open',
ADD COLUMN     "subject_id" TEXT NOT NULL,
ADD COLUMN     "subscription_id" TEXT,
ADD COLUMN     "tokens" BIGINT;

-- AlterTable
ALTER TABLE "reconciliation_runs" ADD COLUMN     "counts" JSONB NOT NULL DEFAULT '{}',
ADD COLUMN     "created_at" TIMESTAMPTZ(3) NOT NULL,
ADD COLUMN     "error" TEXT,
ADD COLUMN     "since" TIMESTAMPTZ(3),
ADD COLUMN     "status" "reconciliation_status" NOT NULL DEFAULT 'pending',
ADD COLUMN     "user_id" TEXT,
ALTER COLUMN "started_at" DROP NOT NULL;

-- CreateTable
CREATE TABLE "reconciliation_marks" (
    "run_id" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "subject_id" TEXT NOT NULL,
    "minor" BIGINT NOT NULL DEFAULT 0,

    CONSTRAINT "reconciliation_marks_pkey" PRIMARY KEY ("run_id","subject_id","kind")
);

-- CreateIndex
CREATE INDEX "reconciliation_differences_run_id_user_id_idx" ON "reconciliation_differences"("run_id", "user_id");

-- CreateIndex
CREATE UNIQUE INDEX "reconciliation_differences_run_id_kind_subject_id_key" ON "reconciliation_differences"("run_id", "kind", "subject_id");


-- ── By hand ─────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Marks are of one run: a crash may lose them, the run then begins again.
ALTER TABLE "reconciliation_marks" SET UNLOGGED;

-- The finance month needs to know when, and takes clawbacks apart from other voids.
CREATE OR REPLACE VIEW "entry_parts" AS
SELECT e.bucket, e.user_id, e.seq, e.type, e.grant_id, e.tokens + e.debt_delta_tokens AS tokens, e.key, e.created_at
FROM ledger_entries e WHERE e.parts IS NULL AND e.grant_id IS NOT NULL
UNION ALL
SELECT e.bucket, e.user_id, e.seq, e.type, p.part ->> 'grantId', (p.part ->> 'tokens')::bigint, e.key, e.created_at
FROM ledger_entries e CROSS JOIN LATERAL jsonb_array_elements(e.parts) AS p(part) WHERE e.parts IS NOT NULL;

-- Invariant I4: a grant that reconciliation voided because Stripe has no such payment has no line, and says so.
CREATE OR REPLACE VIEW "invariant_i4_sources" AS
SELECT bucket, user_id, format('grant %s (%s) names no single source', id, key) AS detail FROM credit_grants
WHERE (key LIKE 'inv:%') <> (invoice_id IS NOT NULL AND invoice_line_id IS NOT NULL)
   OR (key LIKE 'pack:%') <> (checkout_session_id IS NOT NULL)
   OR (source = 'allowance' AND (window_start IS NULL OR window_end IS NULL))
UNION ALL
SELECT bucket, user_id, format('grant %s (%s) was bought with no line that is known', id, key) FROM credit_grants g
WHERE coalesce(invoice_id, checkout_session_id) IS NOT NULL AND (voided_at IS NULL OR is_withheld) AND NOT EXISTS (
    SELECT 1 FROM paid_lines l WHERE l.bucket = g.bucket AND l.user_id = g.user_id
       AND l.key = CASE WHEN g.key LIKE 'inv:%' THEN format('inv:%s:%s', g.invoice_id, g.invoice_line_id) ELSE g.key END);
