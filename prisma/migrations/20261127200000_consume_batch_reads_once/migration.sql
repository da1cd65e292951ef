-- AlterTable
ALTER TABLE "users" ADD COLUMN "head_source" "grant_source";


-- ── By hand ─────────────────────────────────────────────────────────────────────────────────────────────────────────

-- The answer to a consume names the source of the grant that paid. Reading it from the grant's own row was a seventh of
-- what a consume cost here; a grant's source never changes.
UPDATE "users" u SET head_source = g.source FROM "credit_grants" g WHERE g.bucket = u.bucket AND g.id = u.head_grant_id;
ALTER TABLE "users" ADD CONSTRAINT "users_head_has_source" CHECK ((head_grant_id IS NULL) = (head_source IS NULL));

-- The one text of the function below in its two forms. Where a batch is of one bucket, every equality of a bucket is one
-- with p_bucket: Citus plans a statement for one node, and locks rows there, only by a constant. It also plans anew for
-- each constant, which a plan kept for all would forbid. A later migration that changes the function replaces this text
-- and executes it again in the form that the database has: EXECUTE consume_batch_definition(consume_lanes() > 1).
--
-- Many consumes in one statement and one commit (docs/credits.md "How a consume decides"): each request is decided by
-- itself, in the order of its user's requests. Writes what src/domain/account.ts writes: test/properties proves both.
--
-- p_bucket is the bucket of all requests in a batch of one bucket, and not read otherwise. A request is what stands at
-- its place in each argument, and so is its answer in each array of the result:
--   [seq, available tokens, total tokens used, grant, source of it, answer in full]
-- Taken from the head grant alone, as nearly all are, it has the first five; all else has the last (consume-batch.ts
-- has its forms). Nothing at all is for the caller to decide alone: an unknown user, one whose row somebody else has
-- locked just now (nobody waits here, so no user's requests wait for another's), one for whom something is due, and
-- overage. The caller puts one user and key into a batch only once.
--
-- What costs is a way down an index (3 to 5 µs), so a request goes down four: to its user once, to an earlier entry of
-- its key, and as an entry into two. After it is locked a user's row is found where it lies (ctid): nobody moves a row
-- that we hold.
--
-- The settings keep a plan that was made over empty tables from reading a large one.
CREATE OR REPLACE FUNCTION "consume_batch_definition"(is_of_one_bucket boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $definition$
SELECT CASE WHEN is_of_one_bucket
    THEN regexp_replace(replace(definition, 'force_generic_plan', 'auto'),
        '\mbucket = [a-z_.]+(\[[a-z]+\])?', 'bucket = p_bucket', 'g')
    ELSE definition END
FROM (VALUES ($consume_batch$
CREATE OR REPLACE FUNCTION "consume_batch"(
    p_bucket smallint, p_buckets smallint[], p_users text[], p_keys text[], p_tokens bigint[], p_hashes bytea[], p_features text[],
    p_metadata jsonb[], p_request_ids text[], p_nows timestamptz[])
RETURNS json
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    n int := cardinality(p_users);
    r record;
    g record;
    asked bigint;
    -- The user whose requests are being decided.
    user_bucket smallint;
    user_id_now text;
    last_place int;
    available bigint;
    total_used bigint;
    held_less_debt bigint;
    head_id text;
    head_left bigint;
    head_source_now grant_source;
    is_head_another boolean;
    newest_seq bigint;
    needed bigint;
    parts jsonb;
    -- All below by the place of the request. Where the rows of users are that we have locked:
    row_ids tid[] := array_fill(NULL::tid, ARRAY[n]);
    -- The answer.
    seqs bigint[] := array_fill(NULL::bigint, ARRAY[n]);
    availables bigint[] := seqs;
    totals bigint[] := seqs;
    grant_ids text[] := array_fill(NULL::text, ARRAY[n]);
    sources grant_source[] := array_fill(NULL::grant_source, ARRAY[n]);
    answers json[] := array_fill(NULL::json, ARRAY[n]);
    -- Of the entries to write: null where there is none. These and the next are never asked for beyond one place, so
    -- they need not be filled.
    balances bigint[];
    parts_of jsonb[];
    -- At the last request of a user whose row is to be written; the head only where it is another one now.
    written_ids tid[];
    head_ids text[];
    head_lefts bigint[];
    head_sources grant_source[];
BEGIN
    -- A statement of its own: the next one sees what was committed before the last of these locks was had. In the order
    -- of the index: that keeps batches from waiting for each other in a circle, and reads pages while they are near.
    FOR r IN
        SELECT q.place, u.ctid AS row_id
        FROM (SELECT * FROM unnest(p_buckets, p_users) WITH ORDINALITY requests(bucket, user_id, place)
              ORDER BY requests.bucket, requests.user_id) q
        JOIN users u ON u.bucket = q.bucket AND u.id = q.user_id
        ORDER BY q.bucket, q.user_id FOR NO KEY UPDATE OF u SKIP LOCKED
    LOOP
        row_ids[r.place] := r.row_id;
    END LOOP;

    FOR r IN
        SELECT q.place::int AS place, q.bucket, q.user_id,
               u.available_tokens, u.held_tokens, u.debt_tokens, u.total_tokens_used, u.head_grant_id,
               u.head_remaining_tokens, u.head_source, u.last_seq, u.next_due_at, u.period_end, u.is_metered,
               e.seq AS e_seq, e.tokens AS e_tokens, e.overage_tokens AS e_overage_tokens, e.request_hash AS e_hash,
               e.available_after AS e_available, e.total_used_after AS e_total, e.grant_id AS e_grant_id,
               e.parts AS e_parts
        FROM (SELECT * FROM unnest(p_buckets, p_users, p_keys, row_ids)
                  WITH ORDINALITY locked(bucket, user_id, key, row_id, place)
              WHERE locked.row_id IS NOT NULL ORDER BY locked.bucket, locked.user_id, locked.place) q
        JOIN users u ON u.bucket = q.bucket AND u.ctid = q.row_id
        -- By the digest alone, and compared with the words of the entry that is found: an equality of the user's id would
        -- let the planner read all entries of the user by the primary key, which it holds for as good while tables are
        -- empty (one hot user fell to a tenth of the speed).
        LEFT JOIN ledger_entries e ON e.bucket = q.bucket
            AND md5(length(e.user_id)::text || ':' || e.user_id || e.key)::uuid
                = md5(length(q.user_id)::text || ':' || q.user_id || q.key)::uuid
            AND e.key = q.key AND e.user_id || '' = q.user_id
        ORDER BY q.bucket, q.user_id, q.place
    LOOP
        IF user_id_now IS DISTINCT FROM r.user_id THEN
            user_bucket := r.bucket;
            user_id_now := r.user_id;
            last_place := NULL;
            available := r.available_tokens;
            total_used := r.total_tokens_used;
            held_less_debt := r.held_tokens - r.debt_tokens;
            head_id := r.head_grant_id;
            head_left := r.head_remaining_tokens;
            head_source_now := r.head_source;
            is_head_another := false;
            newest_seq := r.last_seq;
        END IF;

        IF r.next_due_at <= p_nows[r.place] THEN
            CONTINUE;
        END IF;
        IF r.e_seq IS NOT NULL THEN
            IF r.e_hash IS NOT NULL AND r.e_hash <> p_hashes[r.place] THEN
                answers[r.place] := json_build_object('outcome', 'reused');
            ELSE
                parts := r.e_parts;
                IF parts IS NULL THEN
                    SELECT jsonb_build_array(jsonb_build_object('grantId', eg.id, 'source', eg.source, 'tokens', r.e_tokens))
                    INTO parts FROM credit_grants eg WHERE eg.bucket = user_bucket AND eg.id = r.e_grant_id;
                END IF;
                answers[r.place] := json_build_object('outcome', 'replayed', 'seq', r.e_seq, 'tokens', r.e_tokens,
                    'overageTokens', r.e_overage_tokens, 'availableAfter', r.e_available, 'totalUsedAfter', r.e_total,
                    'parts', coalesce(parts, '[]'));
            END IF;
            CONTINUE;
        END IF;
        asked := p_tokens[r.place];
        IF asked > available THEN
            IF NOT r.is_metered THEN
                answers[r.place] := json_build_object('outcome', 'denied', 'availableTokens', available,
                    'heldTokens', r.held_tokens, 'periodEnd', r.period_end);
            END IF;
            CONTINUE;
        END IF;

        parts := NULL;
        IF asked < head_left THEN
            grant_ids[r.place] := head_id;
            sources[r.place] := head_source_now;
            head_left := head_left - asked;
        ELSE
            -- The head is used up: burn on in burn order (src/domain/burn.ts). The head is the first of it.
            needed := asked - head_left;
            parts := jsonb_build_array(jsonb_build_object('grantId', head_id, 'source', head_source_now, 'tokens', -head_left));
            UPDATE credit_grants SET remaining_tokens = 0,
                closed_at = CASE WHEN source <> 'allowance' AND held_tokens = 0 THEN coalesce(closed_at, p_nows[r.place]) ELSE closed_at END
            WHERE bucket = user_bucket AND id = head_id;
            is_head_another := true;
            head_id := NULL;
            head_left := 0;
            head_source_now := NULL;
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
                    head_source_now := g.source;
                    needed := 0;
                    EXIT;
                END IF;
                needed := needed - g.remaining_tokens;
                UPDATE credit_grants SET remaining_tokens = 0,
                    closed_at = CASE WHEN source <> 'allowance' AND held_tokens = 0 THEN p_nows[r.place] END
                WHERE bucket = user_bucket AND id = g.id;
            END LOOP;
            IF needed > 0 THEN
                RAISE EXCEPTION 'Ledger of user is inconsistent: % tokens are in no open grant.', needed
                    USING ERRCODE = 'data_corrupted';
            END IF;
            IF jsonb_array_length(parts) = 1 THEN
                grant_ids[r.place] := parts #>> '{0,grantId}';
                sources[r.place] := (parts #>> '{0,source}')::grant_source;
                parts := NULL;
            END IF;
        END IF;
        available := available - asked;
        total_used := total_used + asked;
        newest_seq := newest_seq + 1;
        seqs[r.place] := newest_seq;
        availables[r.place] := available;
        totals[r.place] := total_used;
        balances[r.place] := available + held_less_debt;
        IF parts IS NOT NULL THEN
            parts_of[r.place] := parts;
            answers[r.place] := json_build_object('outcome', 'taken', 'seq', newest_seq, 'tokens', -asked,
                'overageTokens', 0, 'availableAfter', available, 'totalUsedAfter', total_used, 'parts', parts);
        END IF;
        IF last_place IS NOT NULL THEN
            written_ids[last_place] := NULL;
        END IF;
        last_place := r.place;
        written_ids[r.place] := row_ids[r.place];
        IF is_head_another THEN
            head_ids[r.place] := head_id;
            head_lefts[r.place] := head_left;
            head_sources[r.place] := head_source_now;
        END IF;
    END LOOP;

    INSERT INTO ledger_entries (bucket, user_id, seq, type, tokens, balance_after, available_after, total_used_after,
        grant_id, parts, key, request_hash, feature, metadata, request_id, created_at)
    SELECT p_buckets[i], p_users[i], seqs[i], 'consumed', -p_tokens[i], balances[i], availables[i], totals[i],
        grant_ids[i], parts_of[i], p_keys[i], p_hashes[i], p_features[i], p_metadata[i], p_request_ids[i], p_nows[i]
    FROM generate_series(1, n) i
    WHERE balances[i] IS NOT NULL;

    UPDATE users u SET available_tokens = availables[i], total_tokens_used = totals[i],
        monthly_tokens_used = u.monthly_tokens_used + totals[i] - u.total_tokens_used,
        head_grant_id = CASE WHEN head_lefts[i] IS NULL THEN u.head_grant_id ELSE head_ids[i] END,
        head_source = CASE WHEN head_lefts[i] IS NULL THEN u.head_source ELSE head_sources[i] END,
        head_remaining_tokens = coalesce(head_lefts[i], u.head_remaining_tokens + availables[i] - u.available_tokens),
        last_seq = seqs[i], updated_at = p_nows[i]
    FROM generate_series(1, n) i
    WHERE u.bucket = p_buckets[i] AND u.ctid = written_ids[i];

    RETURN json_build_array(seqs, availables, totals, grant_ids, sources, answers);
END $$
$consume_batch$)) texts(definition)
$definition$;

-- It answers in another form, so it is made anew; a distributed database is told again where it runs.
DO $$
DECLARE
    signature text := 'consume_batch(smallint, smallint[], text[], text[], bigint[], bytea[], text[], jsonb[], text[], timestamptz[])';
BEGIN
    EXECUTE 'DROP FUNCTION ' || signature;
    EXECUTE consume_batch_definition(consume_lanes() > 1);
    IF consume_lanes() > 1 THEN
        EXECUTE format('SELECT create_distributed_function(%L, %L, colocate_with => %L)', signature, 'p_bucket', 'users');
    END IF;
END $$;
