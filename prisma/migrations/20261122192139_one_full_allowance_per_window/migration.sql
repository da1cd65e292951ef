-- One full allowance per window; but two changes of one second may both add to it.
-- DropIndex
DROP INDEX "credit_grants_one_allowance_per_window";

-- CreateIndex
CREATE UNIQUE INDEX "credit_grants_one_allowance_per_window" ON "credit_grants"("bucket", "user_id", "subscription_item_id", "window_start") WHERE "window_kind" = 'full';
