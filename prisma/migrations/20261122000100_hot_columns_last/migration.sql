-- PostgreSQL logs an update from the first byte that changed to the last: what a consume changes stands together at the
-- end of the row, which halves what it writes about the user (230 to 120 bytes, pg_walinspect).
DO $$
DECLARE
    view_names text[];
    definitions text[];
BEGIN
    -- Views hold the columns that they read: taken away and put back as they were, in the order of their making.
    SELECT array_agg(c.relname ORDER BY c.oid), array_agg(pg_get_viewdef(c.oid) ORDER BY c.oid)
    INTO view_names, definitions
    FROM pg_class c WHERE c.relkind = 'v' AND c.relnamespace = current_schema()::regnamespace;
    FOR i IN REVERSE cardinality(view_names)..1 LOOP
        EXECUTE format('DROP VIEW %I', view_names[i]);
    END LOOP;

    ALTER TABLE "users"
        DROP CONSTRAINT "users_tokens_in_range",
        DROP CONSTRAINT "users_head_has_grant",
        DROP COLUMN "credits",
        ADD COLUMN "new_available_tokens" BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN "new_total_tokens_used" BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN "new_monthly_tokens_used" BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN "new_head_remaining_tokens" BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN "new_last_seq" BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN "new_updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT 'epoch';
    UPDATE "users" SET
        new_available_tokens = available_tokens, new_total_tokens_used = total_tokens_used,
        new_monthly_tokens_used = monthly_tokens_used, new_head_remaining_tokens = head_remaining_tokens,
        new_last_seq = last_seq, new_updated_at = updated_at;
    ALTER TABLE "users"
        ALTER COLUMN "new_updated_at" DROP DEFAULT,
        DROP COLUMN "available_tokens",
        DROP COLUMN "total_tokens_used",
        DROP COLUMN "monthly_tokens_used",
        DROP COLUMN "head_remaining_tokens",
        DROP COLUMN "last_seq",
        DROP COLUMN "updated_at";
    ALTER TABLE "users" RENAME COLUMN "new_available_tokens" TO "available_tokens";
    ALTER TABLE "users" RENAME COLUMN "new_total_tokens_used" TO "total_tokens_used";
    ALTER TABLE "users" RENAME COLUMN "new_monthly_tokens_used" TO "monthly_tokens_used";
    ALTER TABLE "users" RENAME COLUMN "new_head_remaining_tokens" TO "head_remaining_tokens";
    ALTER TABLE "users" RENAME COLUMN "new_last_seq" TO "last_seq";
    ALTER TABLE "users" RENAME COLUMN "new_updated_at" TO "updated_at";
    ALTER TABLE "users"
        ADD COLUMN "credits" BIGINT NOT NULL GENERATED ALWAYS AS (available_tokens / 2000) STORED,
        ADD CONSTRAINT "users_tokens_in_range" CHECK (
            available_tokens BETWEEN 0 AND 9007199254740991 AND held_tokens >= 0 AND debt_tokens >= 0
            AND total_tokens_used BETWEEN 0 AND 9007199254740991 AND monthly_tokens_used >= 0
            AND head_remaining_tokens BETWEEN 0 AND available_tokens),
        ADD CONSTRAINT "users_head_has_grant" CHECK (head_grant_id IS NOT NULL OR head_remaining_tokens = 0);

    FOR i IN 1..cardinality(view_names) LOOP
        EXECUTE format('CREATE VIEW %I AS %s', view_names[i], definitions[i]);
    END LOOP;
END $$;
