-- ── By hand ─────────────────────────────────────────────────────────────────────────────────────────────────────────

-- One full allowance per subscription item and window. One without an item is never another's equal here, only in the
-- way: every free allowance was written to this index when it landed and when it ended. Its key is what makes it one.
DROP INDEX "credit_grants_one_allowance_per_window";
CREATE UNIQUE INDEX "credit_grants_one_allowance_per_window" ON "credit_grants"
    ("bucket", "user_id", "subscription_item_id", "window_start")
    WHERE "window_kind" = 'full' AND "subscription_item_id" IS NOT NULL;
