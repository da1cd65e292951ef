-- Makes a migrated database, empty or filled, a distributed one (docs/scaling.md says when, and what then holds). On the
-- coordinator, with the extension made and the workers added, while no process of Tollgate runs, as the owner of the
-- tables:
--
--   psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f prisma/citus.sql
--
-- Every step does nothing where it was done before: after a failure, mend the cause and run the whole again. Until the
-- last step has been done the service does not work; what is in the tables stays.

SET statement_timeout = 0;
-- One connection per worker: so it works in one transaction as well, which some clients make of a file.
SET citus.multi_shard_modify_mode TO 'sequential';
-- With replicas of shards Citus has no foreign keys. Copies for a failure are PostgreSQL's own (docs/scaling.md).
SET citus.shard_replication_factor TO 1;
-- Ours only refuse, and read nothing, so it is the same on whichever node they run.
SET citus.enable_unsafe_triggers TO on;

-- ── The ledger's triggers are put back below: truncating what is left behind on the coordinator would meet them ──────
DO $$
BEGIN
    -- It reads the distributed table, which nothing on a shard may: there the index of each part is all that refuses.
    DROP TRIGGER IF EXISTS "ledger_entries_key_once" ON "ledger_entries";
    IF NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'ledger_entries'::regclass) THEN
        DROP TRIGGER IF EXISTS "ledger_entries_append_only" ON "ledger_entries";
        DROP TRIGGER IF EXISTS "ledger_entries_no_truncate" ON "ledger_entries";
    END IF;
END $$;

-- ── Citus refuses them; of a shard, of which a bucket is a larger part, the planner chooses right without ────────────
DROP STATISTICS IF EXISTS "ledger_entries_key";

-- ── All that belongs to a user lies with the user: `users` first, to which the foreign keys of the others point ──────
-- What is not here stays an ordinary table of the coordinator: it is asked for before a bucket is known, or is of no
-- user (docs/scaling.md).
SELECT create_distributed_table('users', 'bucket', colocate_with => 'none')
WHERE NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'users'::regclass);
SELECT create_distributed_table('user_profiles', 'bucket', colocate_with => 'users')
WHERE NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'user_profiles'::regclass);
SELECT create_distributed_table('credit_grants', 'bucket', colocate_with => 'users')
WHERE NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'credit_grants'::regclass);
SELECT create_distributed_table('ledger_entries', 'bucket', colocate_with => 'users')
WHERE NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'ledger_entries'::regclass);
SELECT create_distributed_table('holds', 'bucket', colocate_with => 'users')
WHERE NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'holds'::regclass);
SELECT create_distributed_table('subscriptions', 'bucket', colocate_with => 'users')
WHERE NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'subscriptions'::regclass);
SELECT create_distributed_table('paid_lines', 'bucket', colocate_with => 'users')
WHERE NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'paid_lines'::regclass);
SELECT create_distributed_table('workflows', 'bucket', colocate_with => 'users')
WHERE NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'workflows'::regclass);
SELECT create_distributed_table('idempotency_records', 'bucket', colocate_with => 'users')
WHERE NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'idempotency_records'::regclass);

-- ── The rows that were copied to the workers are still on the coordinator's disk; it takes those of all tables that
-- refer to `users` along, which the ledger does not ──────────────────────────────────────────────────────────────────
SELECT truncate_local_data_after_distributing_table('ledger_entries')
WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'ledger_entries'::regclass AND tgname = 'ledger_entries_no_truncate');
SELECT truncate_local_data_after_distributing_table('users')
WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'ledger_entries'::regclass AND tgname = 'ledger_entries_no_truncate');

-- ── Entries never change, on every shard ─────────────────────────────────────────────────────────────────────────────
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'ledger_entries'::regclass AND tgname = 'ledger_entries_append_only') THEN
        CREATE TRIGGER "ledger_entries_append_only" BEFORE UPDATE OR DELETE ON "ledger_entries"
            FOR EACH ROW EXECUTE FUNCTION "refuse_ledger_change"();
    END IF;
END $$;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'ledger_entries'::regclass AND tgname = 'ledger_entries_no_truncate') THEN
        CREATE TRIGGER "ledger_entries_no_truncate" BEFORE TRUNCATE ON "ledger_entries"
            FOR EACH STATEMENT EXECUTE FUNCTION "refuse_ledger_change"();
    END IF;
END $$;

-- ── Who is due is asked of all shards at once ────────────────────────────────────────────────────────────────────────
-- No bucket is named, and before PostgreSQL 18 a shard would read all of the index that begins with it, once a minute. A
-- block of its own, like the triggers: a client may send this file as one message, which Citus would hand on to the workers.
DO $$ BEGIN CREATE INDEX IF NOT EXISTS "users_next_due_at_idx" ON "users" ("next_due_at"); END $$;
CREATE OR REPLACE FUNCTION "due_buckets"(p_now timestamptz, p_is_lapsed boolean) RETURNS TABLE (bucket smallint)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT u.bucket FROM users u WHERE u.next_due_at <= p_now AND u.parked_at IS NULL
        AND (NOT p_is_lapsed OR (u.is_subscribed AND u.access_ends_at <= p_now))
    GROUP BY u.bucket;
END $$;
CREATE OR REPLACE FUNCTION "due_users"(p_now timestamptz, p_is_lapsed boolean, p_limit int) RETURNS TABLE (id text)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT u.id FROM users u WHERE u.next_due_at <= p_now AND u.parked_at IS NULL
        AND (NOT p_is_lapsed OR (u.is_subscribed AND u.access_ends_at <= p_now))
    ORDER BY u.next_due_at LIMIT p_limit;
END $$;

-- ── The view of the ledger's parts, which a batch reads on its worker, is made again now that its table is distributed:
-- so it goes to the workers (docs/decisions/0012) ───────────────────────────────────────────────────────────────────
DO $$ BEGIN EXECUTE ledger_definition(ledger_boundaries()); END $$;

-- ── A batch of consumes is of one bucket, and runs as a whole on the worker that has it (docs/decisions/0008) ────────
DO $$ BEGIN EXECUTE consume_batch_definition(true); END $$;
SELECT create_distributed_function(
    'consume_batch(smallint, smallint[], text[], text[], bigint[], bytea[], text[], jsonb[], text[], timestamptz[])',
    'p_bucket', colocate_with => 'users');
CREATE OR REPLACE FUNCTION "consume_lanes"() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1024';
