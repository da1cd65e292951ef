-- AlterTable
ALTER TABLE "users" ADD COLUMN     "parked_at" TIMESTAMPTZ(3),
ADD COLUMN     "parked_reason" TEXT;

-- CreateIndex
CREATE INDEX "credit_grants_created_at_idx" ON "credit_grants" USING BRIN ("created_at");

-- CreateIndex
CREATE INDEX "ledger_entries_created_at_idx" ON "ledger_entries" USING BRIN ("created_at");

-- CreateIndex
CREATE INDEX "stripe_events_user_id_received_at_idx" ON "stripe_events"("user_id", "received_at");
