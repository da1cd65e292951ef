-- DropIndex
DROP INDEX "ledger_entries_bucket_user_id_key_key";


-- ── By hand ─────────────────────────────────────────────────────────────────────────────────────────────────────────

-- One entry per key of a user, by a digest of 16 bytes: keys are callers' words of up to 255 characters, each was in the
-- index as well, and a tenth of what a consume wrote was that (pg_walinspect: 53 of 747 bytes with UUIDs for keys). Two
-- keys of one digest cannot both be written; nobody comes upon such keys by chance, and who makes them is refused the
-- second one.
CREATE UNIQUE INDEX "ledger_entries_key_digest" ON "ledger_entries" ("bucket", "user_id", (md5("key")::uuid));

-- Looked for by what is in the index.
DO $$
BEGIN
    EXECUTE replace(pg_get_functiondef('consume_batch_definition(boolean)'::regprocedure),
        'AND e.key = q.key', 'AND md5(e.key)::uuid = md5(q.key)::uuid AND e.key = q.key');
    EXECUTE consume_batch_definition(consume_lanes() > 1);
END $$;
