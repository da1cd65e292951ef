-- DropIndex
DROP INDEX "ledger_entries_bucket_user_id_key_key";


-- ── By hand ─────────────────────────────────────────────────────────────────────────────────────────────────────────

-- One entry per user and key, by a digest of 16 bytes of both: they are callers' words of up to 255 characters, each was
-- in the index as well, and a tenth of what a consume wrote was that (pg_walinspect). The length keeps "a" + "bc" from
-- being "ab" + "c". Of two that had one digest the second would be refused; nobody comes upon such a pair by chance.
CREATE UNIQUE INDEX "ledger_entries_key_digest" ON "ledger_entries"
    ("bucket", (md5(length("user_id")::text || ':' || "user_id" || "key")::uuid));

-- Looked for by the digest alone, and compared with the words of the entry that is found: an equality of the user's id
-- would let the planner read all entries of the user by the primary key, which it holds for as good while tables are
-- empty (one hot user fell to a tenth of the speed).
DO $$
BEGIN
    EXECUTE replace(pg_get_functiondef('consume_batch_definition(boolean)'::regprocedure),
        'e.user_id = q.user_id AND e.key = q.key',
        'md5(length(e.user_id)::text || '':'' || e.user_id || e.key)::uuid
            = md5(length(q.user_id)::text || '':'' || q.user_id || q.key)::uuid
            AND e.key = q.key AND e.user_id || '''' = q.user_id');
    EXECUTE consume_batch_definition(consume_lanes() > 1);
END $$;
