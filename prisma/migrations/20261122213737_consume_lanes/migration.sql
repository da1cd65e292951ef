-- A user's bucket and id never change; Citus refuses foreign keys over the distribution column that would follow a
-- change of it (ON UPDATE CASCADE, which Prisma writes where nothing is said).

-- DropForeignKey
ALTER TABLE "credit_grants" DROP CONSTRAINT "credit_grants_bucket_user_id_fkey";

-- DropForeignKey
ALTER TABLE "holds" DROP CONSTRAINT "holds_bucket_user_id_fkey";

-- DropForeignKey
ALTER TABLE "idempotency_records" DROP CONSTRAINT "idempotency_records_bucket_user_id_fkey";

-- DropForeignKey
ALTER TABLE "ledger_entries" DROP CONSTRAINT "ledger_entries_bucket_user_id_fkey";

-- DropForeignKey
ALTER TABLE "paid_lines" DROP CONSTRAINT "paid_lines_bucket_user_id_fkey";

-- DropForeignKey
ALTER TABLE "subscriptions" DROP CONSTRAINT "subscriptions_bucket_user_id_fkey";

-- DropForeignKey
ALTER TABLE "user_profiles" DROP CONSTRAINT "user_profiles_bucket_user_id_fkey";

-- DropForeignKey
ALTER TABLE "workflows" DROP CONSTRAINT "workflows_bucket_user_id_fkey";

-- AddForeignKey
ALTER TABLE "user_profiles" ADD CONSTRAINT "user_profiles_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE RESTRICT;

-- AddForeignKey
ALTER TABLE "credit_grants" ADD CONSTRAINT "credit_grants_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE RESTRICT;

-- AddForeignKey
ALTER TABLE "ledger_entries" ADD CONSTRAINT "ledger_entries_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE RESTRICT;

-- AddForeignKey
ALTER TABLE "holds" ADD CONSTRAINT "holds_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE RESTRICT;

-- AddForeignKey
ALTER TABLE "subscriptions" ADD CONSTRAINT "subscriptions_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE RESTRICT;

-- AddForeignKey
ALTER TABLE "paid_lines" ADD CONSTRAINT "paid_lines_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE RESTRICT;

-- AddForeignKey
ALTER TABLE "workflows" ADD CONSTRAINT "workflows_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE RESTRICT;

-- AddForeignKey
ALTER TABLE "idempotency_records" ADD CONSTRAINT "idempotency_records_bucket_user_id_fkey" FOREIGN KEY ("bucket", "user_id") REFERENCES "users"("bucket", "id") ON DELETE RESTRICT ON UPDATE RESTRICT;


-- ── By hand ─────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Into how many lanes consumes are sorted by bucket (docs/decisions/0008): 1, all buckets in one batch, on one
-- PostgreSQL. prisma/citus.sql replaces it.
CREATE FUNCTION "consume_lanes"() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';

-- The one text of the function below in its two forms. Where a batch is of one bucket, every equality of a bucket is one
-- with p_bucket: Citus plans a statement for one node, and locks rows there, only by a constant. It also plans anew for
-- each constant, which a plan kept for all would forbid. A later migration that changes the function replaces this text
-- and executes it again in the form that the database has: EXECUTE consume_batch_definition(consume_lanes() > 1).
--
-- Many consumes in one statement and one commit (docs/credits.md "How a consume decides"): each request is decided by
-- itself, in the order of its user's requests. Writes what src/domain/account.ts writes: test/properties proves both.
--
-- p_bucket is the bucket of all requests in a batch of one bucket, and not read otherwise. Row i of the answer is for
-- request i. A null outcome is for the caller to decide alone: an unknown user, one whose row somebody else has locked
-- just now (nobody waits here, so no user's requests wait for another's), one for whom something is due, and overage.
-- The caller puts one user and key into a batch only once.
--
-- The settings keep a plan that was made over empty tables from reading a large one.
CREATE FUNCTION "consume_batch_definition"(is_of_one_bucket boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $definition$
SELECT CASE WHEN is_of_one_bucket
    THEN regexp_replace(replace(definition, 'force_generic_plan', 'auto'), '\mbucket = [a-z_.]+', 'bucket = p_bucket', 'g')
    ELSE definition END
FROM (VALUES ($consume_batch$
CREATE OR REPLACE FUNCTION "consume_batch"(
    p_bucket smallint, p_buckets smallint[], p_users text[], p_keys text[], p_tokens bigint[], p_hashes bytea[], p_features text[],
    p_metadata jsonb[], p_request_ids text[], p_nows timestamptz[])
RETURNS TABLE (
    o_outcome text, o_seq bigint, o_tokens bigint, o_overage_tokens bigint, o_available_tokens bigint,
    o_total_tokens_used bigint, o_grant_id text, o_source grant_source, o_parts jsonb, o_held_tokens bigint,
    o_period_end timestamptz)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    n int := cardinality(p_users);
    locked boolean[] := array_fill(false, ARRAY[n]);
    place int;
    r record;
    g record;
    -- The user whose requests are being decided.
    user_bucket smallint;
    user_id_now text;
    is_changed boolean := false;
    available bigint;
    total_used bigint;
    monthly_used bigint;
    head_id text;
    head_left bigint;
    head_source grant_source;
    newest_seq bigint;
    needed bigint;
    parts jsonb;
    -- Answers, by the place of the request.
    outcomes text[] := array_fill(NULL::text, ARRAY[n]);
    seqs bigint[] := array_fill(NULL::bigint, ARRAY[n]);
    tokens_of bigint[] := seqs;
    overages bigint[] := seqs;
    availables bigint[] := seqs;
    totals bigint[] := seqs;
    grant_ids text[] := outcomes;
    sources grant_source[] := array_fill(NULL::grant_source, ARRAY[n]);
    parts_of jsonb[] := array_fill(NULL::jsonb, ARRAY[n]);
    helds bigint[] := seqs;
    period_ends timestamptz[] := array_fill(NULL::timestamptz, ARRAY[n]);
    -- Of the entries to write.
    balances bigint[] := seqs;
    -- The rows of users to write: one place per user.
    w int := 0;
    w_buckets smallint[] := '{}';
    w_users text[] := '{}';
    w_availables bigint[] := '{}';
    w_totals bigint[] := '{}';
    w_monthlies bigint[] := '{}';
    w_heads text[] := '{}';
    w_head_lefts bigint[] := '{}';
    w_seqs bigint[] := '{}';
    w_times timestamptz[] := '{}';
BEGIN
    -- A statement of its own: the next one sees what was committed before the last of these locks was had.
    FOR place IN
        SELECT q.place FROM unnest(p_buckets, p_users) WITH ORDINALITY q(bucket, user_id, place)
        JOIN users u ON u.bucket = q.bucket AND u.id = q.user_id
        ORDER BY u.bucket, u.id FOR NO KEY UPDATE OF u SKIP LOCKED
    LOOP
        locked[place] := true;
    END LOOP;

    FOR r IN
        SELECT q.place::int AS place, q.bucket, q.user_id, q.tokens, q.hash, q.asked_at,
               u.available_tokens, u.held_tokens, u.debt_tokens, u.total_tokens_used, u.monthly_tokens_used,
               u.head_grant_id, u.head_remaining_tokens, h.source AS head_source, u.last_seq, u.next_due_at,
               u.period_end, u.is_metered,
               e.seq AS e_seq, e.tokens AS e_tokens, e.overage_tokens AS e_overage_tokens, e.request_hash AS e_hash,
               e.available_after AS e_available, e.total_used_after AS e_total, e.grant_id AS e_grant_id,
               eg.source AS e_source, e.parts AS e_parts
        FROM unnest(p_buckets, p_users, p_keys, p_tokens, p_hashes, p_nows)
            WITH ORDINALITY q(bucket, user_id, key, tokens, hash, asked_at, place)
        JOIN users u ON u.bucket = q.bucket AND u.id = q.user_id
        LEFT JOIN credit_grants h ON h.bucket = u.bucket AND h.id = u.head_grant_id
        LEFT JOIN ledger_entries e ON e.bucket = q.bucket AND e.user_id = q.user_id AND e.key = q.key
        LEFT JOIN credit_grants eg ON eg.bucket = e.bucket AND eg.id = e.grant_id
        WHERE locked[q.place]
        ORDER BY q.bucket, q.user_id, q.place
    LOOP
        IF user_id_now IS DISTINCT FROM r.user_id THEN
            user_bucket := r.bucket;
            user_id_now := r.user_id;
            is_changed := false;
            available := r.available_tokens;
            total_used := r.total_tokens_used;
            monthly_used := r.monthly_tokens_used;
            head_id := r.head_grant_id;
            head_left := r.head_remaining_tokens;
            head_source := r.head_source;
            newest_seq := r.last_seq;
        END IF;

        IF r.next_due_at <= r.asked_at THEN
            CONTINUE;
        END IF;
        IF r.e_seq IS NOT NULL THEN
            IF r.e_hash IS NOT NULL AND r.e_hash <> r.hash THEN
                outcomes[r.place] := 'reused';
            ELSE
                outcomes[r.place] := 'replayed';
                seqs[r.place] := r.e_seq;
                tokens_of[r.place] := r.e_tokens;
                overages[r.place] := r.e_overage_tokens;
                availables[r.place] := r.e_available;
                totals[r.place] := r.e_total;
                grant_ids[r.place] := r.e_grant_id;
                sources[r.place] := r.e_source;
                parts_of[r.place] := r.e_parts;
            END IF;
            CONTINUE;
        END IF;
        IF r.tokens > available THEN
            IF NOT r.is_metered THEN
                outcomes[r.place] := 'denied';
                availables[r.place] := available;
                helds[r.place] := r.held_tokens;
                period_ends[r.place] := r.period_end;
            END IF;
            CONTINUE;
        END IF;

        outcomes[r.place] := 'taken';
        IF r.tokens < head_left THEN
            grant_ids[r.place] := head_id;
            sources[r.place] := head_source;
            head_left := head_left - r.tokens;
        ELSE
            -- The head is used up: burn on in burn order (src/domain/burn.ts). The head is the first of it.
            needed := r.tokens - head_left;
            parts := jsonb_build_array(jsonb_build_object('grantId', head_id, 'source', head_source, 'tokens', -head_left));
            UPDATE credit_grants SET remaining_tokens = 0,
                closed_at = CASE WHEN source <> 'allowance' AND held_tokens = 0 THEN coalesce(closed_at, r.asked_at) ELSE closed_at END
            WHERE bucket = user_bucket AND id = head_id;
            head_id := NULL;
            head_left := 0;
            head_source := NULL;
            FOR g IN
                SELECT id, source, remaining_tokens FROM credit_grants
                WHERE bucket = user_bucket AND user_id = user_id_now AND closed_at IS NULL AND remaining_tokens > 0
                ORDER BY priority, expires_at NULLS LAST, source, effective_at, id COLLATE "C"
            LOOP
                IF needed > 0 THEN
                    parts := parts || jsonb_build_object('grantId', g.id, 'source', g.source, 'tokens', -least(needed, g.remaining_tokens));
                END IF;
                IF needed < g.remaining_tokens THEN
                    head_id := g.id;
                    head_left := g.remaining_tokens - needed;
                    head_source := g.source;
                    needed := 0;
                    EXIT;
                END IF;
                needed := needed - g.remaining_tokens;
                UPDATE credit_grants SET remaining_tokens = 0,
                    closed_at = CASE WHEN source <> 'allowance' AND held_tokens = 0 THEN r.asked_at END
                WHERE bucket = user_bucket AND id = g.id;
            END LOOP;
            IF needed > 0 THEN
                RAISE EXCEPTION 'Ledger of user is inconsistent: % tokens are in no open grant.', needed
                    USING ERRCODE = 'data_corrupted';
            END IF;
            IF jsonb_array_length(parts) = 1 THEN
                grant_ids[r.place] := parts #>> '{0,grantId}';
                sources[r.place] := (parts #>> '{0,source}')::grant_source;
            ELSE
                parts_of[r.place] := parts;
            END IF;
        END IF;
        available := available - r.tokens;
        total_used := total_used + r.tokens;
        monthly_used := monthly_used + r.tokens;
        newest_seq := newest_seq + 1;
        IF NOT is_changed THEN
            is_changed := true;
            w := w + 1;
            w_buckets[w] := user_bucket;
            w_users[w] := user_id_now;
        END IF;
        w_availables[w] := available;
        w_totals[w] := total_used;
        w_monthlies[w] := monthly_used;
        w_heads[w] := head_id;
        w_head_lefts[w] := head_left;
        w_seqs[w] := newest_seq;
        w_times[w] := r.asked_at;
        seqs[r.place] := newest_seq;
        tokens_of[r.place] := -r.tokens;
        overages[r.place] := 0;
        availables[r.place] := available;
        totals[r.place] := total_used;
        balances[r.place] := available + r.held_tokens - r.debt_tokens;
    END LOOP;

    INSERT INTO ledger_entries (bucket, user_id, seq, type, tokens, balance_after, available_after, total_used_after,
        grant_id, parts, key, request_hash, feature, metadata, request_id, created_at)
    SELECT q.bucket, q.user_id, q.seq, 'consumed', q.tokens, q.balance, q.available, q.total,
        q.grant_id, q.parts, q.key, q.hash, q.feature, q.metadata, q.request_id, q.asked_at
    FROM unnest(p_buckets, p_users, seqs, tokens_of, balances, availables, totals, grant_ids, parts_of, p_keys, p_hashes,
            p_features, p_metadata, p_request_ids, p_nows)
        q(bucket, user_id, seq, tokens, balance, available, total, grant_id, parts, key, hash, feature, metadata,
            request_id, asked_at)
    WHERE q.balance IS NOT NULL;

    UPDATE users u SET available_tokens = c.available, total_tokens_used = c.total, monthly_tokens_used = c.monthly,
        head_grant_id = c.head_id, head_remaining_tokens = c.head_left, last_seq = c.seq, updated_at = c.changed_at
    FROM unnest(w_buckets, w_users, w_availables, w_totals, w_monthlies, w_heads, w_head_lefts, w_seqs, w_times)
        c(bucket, id, available, total, monthly, head_id, head_left, seq, changed_at)
    WHERE u.bucket = c.bucket AND u.id = c.id;

    RETURN QUERY SELECT * FROM unnest(outcomes, seqs, tokens_of, overages, availables, totals, grant_ids, sources, parts_of,
        helds, period_ends);
END $$
$consume_batch$)) texts(definition)
$definition$;

DROP FUNCTION "consume_batch"(smallint[], text[], text[], bigint[], bytea[], text[], jsonb[], text[], timestamptz[]);
DO $$ BEGIN EXECUTE consume_batch_definition(false); END $$;
