-- ── By hand: no statement of these is one that Prisma would write ───────────────────────────────────────────────────

-- Earlier entries are found by hash: one page instead of three or four down a b-tree, and no digest to be made (md5 and its
-- cast were a twentieth of a consume). A consume takes a fourteenth less of PostgreSQL's CPU, an item of a large batch a
-- seventh. A hash index is never unique: docs/decisions/0014 says what a key's one effect rests on. Users have none of
-- their ids: each reset would write it as well, and took a tenth longer.

-- The indexes of all parts: `CREATE ` || kind || name || definition. No user's id has a space in it, so joined by one the
-- words of a user and key are nobody else's.
DROP FUNCTION "ledger_indexes"(date[]);
CREATE FUNCTION "ledger_indexes"(p_boundaries date[]) RETURNS TABLE (name text, kind text, definition text)
LANGUAGE sql STABLE AS $$
    SELECT format('ledger_entries_%s_%s', kinds.name, part.name), kinds.kind,
        format('ON ledger_entries USING %s WHERE %s', kinds.columns, part.condition)
    FROM ledger_parts(p_boundaries) part CROSS JOIN (VALUES
        ('seq', 'unique index', 'btree (bucket, user_id, seq)'),
        ('key', 'index', 'hash ((user_id || '' '' || key))')) kinds(name, kind, columns)
    ORDER BY place, kinds.name
$$;

DO $migration$
DECLARE
    one record;
BEGIN
    -- Those of parts that are none yet as well, of a rotation that was cut off: the next one would take them for its own.
    FOR one IN SELECT relname AS name FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            WHERE indrelid = 'ledger_entries'::regclass AND relname ~ '^ledger_entries_key_(all|from|until)' LOOP
        EXECUTE format('DROP INDEX %I', one.name);
    END LOOP;
    FOR one IN SELECT * FROM ledger_indexes(ledger_boundaries()) i WHERE i.name LIKE 'ledger\_entries\_key\_%' LOOP
        EXECUTE format('CREATE %s %I %s', one.kind, one.name, one.definition);
    END LOOP;
    -- Without them the planner, who uses no statistics of partial indexes, takes each key for that of a two-hundredth of
    -- all entries, and reads the whole bucket. A bucket is a larger part of a shard; Citus refuses these statistics.
    IF consume_lanes() = 1 THEN
        EXECUTE $$CREATE STATISTICS "ledger_entries_key" ON ("user_id" || ' ' || "key") FROM "ledger_entries"$$;
    END IF;
END $migration$;

CREATE OR REPLACE FUNCTION "refuse_second_entry"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM ledger l WHERE l.bucket = NEW.bucket AND l.user_id || ' ' || l.key = NEW.user_id || ' ' || NEW.key
            AND l.seq <> NEW.seq) THEN
        RAISE EXCEPTION 'The key % has an entry of this user.', NEW.key USING ERRCODE = 'unique_violation';
    END IF;
    RETURN NULL;
END $$;

-- The one text of the function below in its two forms. Where a batch is of one bucket, every equality of a bucket is one
-- with p_bucket: Citus plans a statement for one node, and locks rows there, only by a constant. It also plans anew for
-- each constant, which a plan kept for all would forbid. Batches there are small: all of it is decided one by one. A later
-- migration that changes the function replaces this text and executes it again in the form that the database has: EXECUTE
-- consume_batch_definition(consume_lanes() > 1).
--
-- Many consumes in one statement and one commit (docs/credits.md "How a consume decides"): each request is decided by
-- itself, in the order of its user's requests. Writes what src/domain/account.ts writes: test/properties proves both.
--
-- p_bucket is the bucket of all requests in a batch of one bucket, and not read otherwise. A request is what stands at
-- its place in each argument. The result has for each entry that was made, in any order
--   [place, seq, available tokens, total tokens used, grant, source of it]
-- and for what else is decided, and for entries of several grants, whose grant is null,
--   [place, answer in full]
-- as columns (consume-batch.ts has the forms). A place of neither is for the caller to decide alone: an unknown user, one
-- whose row somebody else has locked just now (nobody waits here, so no user's requests wait for another's), one for whom
-- something is due, and overage. The caller puts one user and key into a batch only once.
--
-- What costs is a way down a b-tree (3 µs), so a request goes down two: to its user once, and as an entry into that of user
-- and seq. Its key is looked for and entered by hash, a page each. After it is locked a user's row is found where it lies
-- (ctid): nobody moves a row that we hold. Users with one request each, taken from their head grant, are decided by one
-- statement for all of them: one by one took a tenth more.
--
-- `bucket + 0`, as the planner would else read a whole bucket, which it holds for as good while tables are empty.
--
-- The settings keep a plan that was made over empty tables from reading a large one.
CREATE OR REPLACE FUNCTION "consume_batch_definition"(is_of_one_bucket boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $definition$
SELECT CASE WHEN is_of_one_bucket
    THEN regexp_replace(replace(replace(replace(definition, 'force_generic_plan', 'auto'),
        'count(*) OVER (PARTITION BY requests.bucket, requests.user_id) = 1', 'false'),
        'bucket + 0 = ', 'bucket = '),
        '\mbucket = [a-z_.]+(\[[a-z.]+\])?', 'bucket = p_bucket', 'g')
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
    r record;
    g record;
    asked bigint;
    -- Requests whose users we have locked, and where those rows are: the only one of its user, or one of several.
    singles int;
    single_places int[];
    single_ids tid[];
    other_places int[];
    other_ids tid[];
    -- The user whose requests are being decided, and its last entry.
    user_id_now text;
    last_entry int;
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
    -- Entries, and how many of them are written.
    entries int := 0;
    written int;
    places int[];
    seqs bigint[];
    availables bigint[];
    totals bigint[];
    grant_ids text[];
    sources grant_source[];
    balances bigint[];
    parts_of jsonb[];
    -- At the last entry of a user whose row is to be written; the head only where it is another one now.
    written_ids tid[];
    head_ids text[];
    head_lefts bigint[];
    head_sources grant_source[];
    -- Answers in full.
    answers int := 0;
    answer_places int[];
    answers_in_full json[];
BEGIN
    -- A statement of its own: the next one sees what was committed before the last of these locks was had.
    WITH locked AS (
        SELECT q.place::int AS place, q.is_single, u.ctid AS row_id
        FROM (SELECT *, count(*) OVER (PARTITION BY requests.bucket, requests.user_id) = 1 AS is_single
              FROM unnest(p_buckets, p_users) WITH ORDINALITY requests(bucket, user_id, place)) q
        JOIN users u ON u.bucket = q.bucket AND u.id = q.user_id
        FOR NO KEY UPDATE OF u SKIP LOCKED
    )
    SELECT count(*) FILTER (WHERE is_single), array_agg(place) FILTER (WHERE is_single),
        array_agg(row_id) FILTER (WHERE is_single), array_agg(place) FILTER (WHERE NOT is_single),
        array_agg(row_id) FILTER (WHERE NOT is_single)
    INTO singles, single_places, single_ids, other_places, other_ids
    FROM locked;

    -- Nearly all: nothing is due, the key is new, and the head grant has more than is asked for (so the balance has, which
    -- is the sum of the grants). The rest is left to what follows.
    IF singles > 0 THEN
        WITH decided AS (
            UPDATE users u SET available_tokens = u.available_tokens - q.tokens,
                total_tokens_used = u.total_tokens_used + q.tokens, monthly_tokens_used = u.monthly_tokens_used + q.tokens,
                head_remaining_tokens = u.head_remaining_tokens - q.tokens, last_seq = u.last_seq + 1, updated_at = q.now
            FROM (SELECT l.place, l.row_id, p_buckets[l.place] AS bucket, p_tokens[l.place] AS tokens, p_nows[l.place] AS now,
                         p_users[l.place] AS user_id, p_keys[l.place] AS key
                  FROM unnest(single_places, single_ids) l(place, row_id) OFFSET 0) q
            WHERE u.bucket = q.bucket AND u.ctid = q.row_id AND (u.next_due_at <= q.now) IS NOT TRUE
                AND q.tokens < u.head_remaining_tokens
                AND NOT EXISTS (SELECT FROM ledger l WHERE l.bucket + 0 = q.bucket
                    AND l.user_id || ' ' || l.key = q.user_id || ' ' || q.key OFFSET 0)
            RETURNING q.place, u.bucket, u.id, u.last_seq, u.available_tokens, u.total_tokens_used, u.head_grant_id,
                u.head_source, u.available_tokens + u.held_tokens - u.debt_tokens AS balance
        ), entered AS (
            INSERT INTO ledger_entries (bucket, user_id, seq, type, tokens, balance_after, available_after,
                total_used_after, grant_id, key, request_hash, feature, metadata, request_id, created_at)
            SELECT d.bucket, d.id, d.last_seq, 'consumed', -p_tokens[d.place], d.balance, d.available_tokens,
                d.total_tokens_used, d.head_grant_id, p_keys[d.place], p_hashes[d.place], p_features[d.place],
                p_metadata[d.place], p_request_ids[d.place], p_nows[d.place]
            FROM decided d
        )
        SELECT count(*), array_agg(d.place), array_agg(d.last_seq), array_agg(d.available_tokens),
            array_agg(d.total_tokens_used), array_agg(d.head_grant_id), array_agg(d.head_source)
        INTO entries, places, seqs, availables, totals, grant_ids, sources
        FROM decided d;

        IF entries < singles THEN
            SELECT other_places || array_agg(l.place), other_ids || array_agg(l.row_id) INTO other_places, other_ids
            FROM unnest(single_places, single_ids) l(place, row_id)
            WHERE entries = 0 OR l.place <> ALL (places);
        END IF;
    END IF;
    IF other_places IS NULL THEN
        RETURN json_build_array(places, seqs, availables, totals, grant_ids, sources, NULL, NULL);
    END IF;
    written := entries;

    FOR r IN
        SELECT q.place, q.bucket, q.user_id, q.row_id,
               u.available_tokens, u.held_tokens, u.debt_tokens, u.total_tokens_used, u.head_grant_id,
               u.head_remaining_tokens, u.head_source, u.last_seq, u.next_due_at, u.period_end, u.is_metered,
               e.seq AS e_seq, e.tokens AS e_tokens, e.overage_tokens AS e_overage_tokens, e.request_hash AS e_hash,
               e.available_after AS e_available, e.total_used_after AS e_total, e.grant_id AS e_grant_id,
               e.parts AS e_parts
        FROM (SELECT o.place, o.row_id, p_buckets[o.place] AS bucket, p_users[o.place] AS user_id, p_keys[o.place] AS key
              FROM unnest(other_places, other_ids) o(place, row_id) ORDER BY 3, 4, 1) q
        JOIN users u ON u.bucket = q.bucket AND u.ctid = q.row_id
        -- It asks all parts of the ledger; the offset keeps it a statement of its own, into whose parts the planner puts
        -- what is asked for.
        LEFT JOIN LATERAL (
            SELECT l.seq, l.tokens, l.overage_tokens, l.request_hash, l.available_after, l.total_used_after, l.grant_id, l.parts
            FROM ledger l
            WHERE l.bucket + 0 = q.bucket AND l.user_id || ' ' || l.key = q.user_id || ' ' || q.key OFFSET 0) e ON true
        ORDER BY q.bucket, q.user_id, q.place
    LOOP
        IF user_id_now IS DISTINCT FROM r.user_id THEN
            user_id_now := r.user_id;
            last_entry := NULL;
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
            answers := answers + 1;
            answer_places[answers] := r.place;
            IF r.e_hash IS NOT NULL AND r.e_hash <> p_hashes[r.place] THEN
                answers_in_full[answers] := json_build_object('outcome', 'reused');
            ELSE
                parts := r.e_parts;
                IF parts IS NULL THEN
                    SELECT jsonb_build_array(jsonb_build_object('grantId', eg.id, 'source', eg.source, 'tokens', r.e_tokens))
                    INTO parts FROM credit_grants eg WHERE eg.bucket = r.bucket AND eg.id = r.e_grant_id;
                END IF;
                answers_in_full[answers] := json_build_object('outcome', 'replayed', 'seq', r.e_seq, 'tokens', r.e_tokens,
                    'overageTokens', r.e_overage_tokens, 'availableAfter', r.e_available, 'totalUsedAfter', r.e_total,
                    'parts', coalesce(parts, '[]'));
            END IF;
            CONTINUE;
        END IF;
        asked := p_tokens[r.place];
        IF asked > available THEN
            IF NOT r.is_metered THEN
                answers := answers + 1;
                answer_places[answers] := r.place;
                answers_in_full[answers] := json_build_object('outcome', 'denied', 'availableTokens', available,
                    'heldTokens', r.held_tokens, 'periodEnd', r.period_end);
            END IF;
            CONTINUE;
        END IF;

        entries := entries + 1;
        parts := NULL;
        IF asked < head_left THEN
            grant_ids[entries] := head_id;
            sources[entries] := head_source_now;
            head_left := head_left - asked;
        ELSE
            -- The head is used up: burn on in burn order (src/domain/burn.ts). The head is the first of it.
            needed := asked - head_left;
            parts := jsonb_build_array(jsonb_build_object('grantId', head_id, 'source', head_source_now, 'tokens', -head_left));
            UPDATE credit_grants SET remaining_tokens = 0,
                closed_at = CASE WHEN source <> 'allowance' AND held_tokens = 0 THEN coalesce(closed_at, p_nows[r.place]) ELSE closed_at END
            WHERE bucket = r.bucket AND id = head_id;
            is_head_another := true;
            head_id := NULL;
            head_left := 0;
            head_source_now := NULL;
            FOR g IN
                SELECT id, source, remaining_tokens FROM credit_grants
                WHERE bucket = r.bucket AND user_id = user_id_now AND closed_at IS NULL AND remaining_tokens > 0
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
                WHERE bucket = r.bucket AND id = g.id;
            END LOOP;
            IF needed > 0 THEN
                RAISE EXCEPTION 'Ledger of user is inconsistent: % tokens are in no open grant.', needed
                    USING ERRCODE = 'data_corrupted';
            END IF;
            IF jsonb_array_length(parts) = 1 THEN
                grant_ids[entries] := parts #>> '{0,grantId}';
                sources[entries] := (parts #>> '{0,source}')::grant_source;
                parts := NULL;
            END IF;
        END IF;
        available := available - asked;
        total_used := total_used + asked;
        newest_seq := newest_seq + 1;
        places[entries] := r.place;
        seqs[entries] := newest_seq;
        availables[entries] := available;
        totals[entries] := total_used;
        balances[entries] := available + held_less_debt;
        IF parts IS NOT NULL THEN
            grant_ids[entries] := NULL;
            sources[entries] := NULL;
            parts_of[entries] := parts;
            answers := answers + 1;
            answer_places[answers] := r.place;
            answers_in_full[answers] := json_build_object('outcome', 'taken', 'seq', newest_seq, 'tokens', -asked,
                'overageTokens', 0, 'availableAfter', available, 'totalUsedAfter', total_used, 'parts', parts);
        END IF;
        IF last_entry IS NOT NULL THEN
            written_ids[last_entry] := NULL;
        END IF;
        last_entry := entries;
        written_ids[entries] := r.row_id;
        IF is_head_another THEN
            head_ids[entries] := head_id;
            head_lefts[entries] := head_left;
            head_sources[entries] := head_source_now;
        END IF;
    END LOOP;

    INSERT INTO ledger_entries (bucket, user_id, seq, type, tokens, balance_after, available_after, total_used_after,
        grant_id, parts, key, request_hash, feature, metadata, request_id, created_at)
    SELECT p_buckets[e.place], p_users[e.place], seqs[i], 'consumed', -p_tokens[e.place], balances[i], availables[i], totals[i],
        grant_ids[i], parts_of[i], p_keys[e.place], p_hashes[e.place], p_features[e.place], p_metadata[e.place],
        p_request_ids[e.place], p_nows[e.place]
    FROM (SELECT i, places[i] AS place FROM generate_series(written + 1, entries) i) e;

    UPDATE users u SET available_tokens = availables[i], total_tokens_used = totals[i],
        monthly_tokens_used = u.monthly_tokens_used + totals[i] - u.total_tokens_used,
        head_grant_id = CASE WHEN head_lefts[i] IS NULL THEN u.head_grant_id ELSE head_ids[i] END,
        head_source = CASE WHEN head_lefts[i] IS NULL THEN u.head_source ELSE head_sources[i] END,
        head_remaining_tokens = coalesce(head_lefts[i], u.head_remaining_tokens + availables[i] - u.available_tokens),
        last_seq = seqs[i], updated_at = p_nows[e.place]
    FROM (SELECT i, places[i] AS place FROM generate_series(written + 1, entries) i) e
    WHERE u.bucket = p_buckets[e.place] AND u.ctid = written_ids[i];

    RETURN json_build_array(places, seqs, availables, totals, grant_ids, sources, answer_places, answers_in_full);
END $$
$consume_batch$)) texts(definition)
$definition$;

DO $$ BEGIN EXECUTE consume_batch_definition(consume_lanes() > 1); END $$;
