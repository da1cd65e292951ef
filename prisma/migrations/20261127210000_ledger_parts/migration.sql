-- AlterTable
ALTER TABLE "ledger_entries" DROP CONSTRAINT "ledger_entries_pkey";


-- ── By hand ─────────────────────────────────────────────────────────────────────────────────────────────────────────

-- The ledger is one table in parts of time (docs/decisions/0012): each part has its own two unique indexes, so that what
-- is written lies in small ones. No row ever moves; src/store/ledger-rotation.ts moves the boundaries. What follows has
-- one text for every set of boundaries, newest first; none, as here, is one part.

-- No `IS NOT NULL` where a part is everything: PostgreSQL 17 drops that from a statement, which then has no index.
CREATE FUNCTION "ledger_parts"(p_boundaries date[]) RETURNS TABLE (place bigint, name text, condition text)
LANGUAGE sql STABLE AS $$
    SELECT place,
           coalesce(nullif(concat_ws('_', to_char(starts, '"from_"YYYYMMDD'), to_char(ends, '"until_"YYYYMMDD')), ''), 'all'),
           concat_ws(' AND ', format('created_at >= %L', coalesce(to_char(starts, 'YYYY-MM-DD"T00:00:00Z"'), '-infinity')),
                     'created_at < ' || quote_literal(to_char(ends, 'YYYY-MM-DD"T00:00:00Z"')))
    FROM unnest(p_boundaries || NULL::date, NULL::date || p_boundaries) WITH ORDINALITY bounds(starts, ends, place)
$$;

-- The unique indexes of all parts: `CREATE UNIQUE INDEX … ` || definition. The digest is that of 20261122215542.
CREATE FUNCTION "ledger_indexes"(p_boundaries date[]) RETURNS TABLE (name text, definition text)
LANGUAGE sql STABLE AS $$
    SELECT format('ledger_entries_%s_%s', kind, part.name), format('ON ledger_entries (%s) WHERE %s', columns, part.condition)
    FROM ledger_parts(p_boundaries) part CROSS JOIN (VALUES
        ('seq', 'bucket, user_id, seq'),
        ('key', 'bucket, (md5(length(user_id)::text || '':'' || user_id || key)::uuid)')) kinds(kind, columns)
    ORDER BY place, kind
$$;

-- What reads entries by their user or key reads them through these: a literal in each part of the view is what proves to
-- the planner that the part's indexes hold all that it asks for. After a column was added to the table:
-- EXECUTE ledger_definition(ledger_boundaries()).
--
-- The page is a function, as an order and a limit over a view of parts would sort all entries of the user.
CREATE FUNCTION "ledger_definition"(p_boundaries date[]) RETURNS text LANGUAGE sql STABLE AS $definition$
    SELECT format($texts$
        CREATE OR REPLACE VIEW "ledger" AS %s;
        CREATE OR REPLACE FUNCTION "ledger_page"(p_bucket smallint, p_user text, p_before bigint, p_limit int)
        RETURNS SETOF ledger_entries LANGUAGE sql STABLE AS $page$ SELECT * FROM (%s) page ORDER BY seq DESC LIMIT p_limit $page$;
        CREATE OR REPLACE FUNCTION "ledger_boundaries"() RETURNS date[] LANGUAGE sql IMMUTABLE AS $list$ SELECT %L::date[] $list$;
        $texts$,
        string_agg('SELECT * FROM ledger_entries WHERE ' || condition, ' UNION ALL ' ORDER BY place),
        string_agg('(SELECT * FROM ledger_entries WHERE bucket = p_bucket AND user_id = p_user AND seq < p_before AND '
            || condition || ' ORDER BY seq DESC LIMIT p_limit)', ' UNION ALL ' ORDER BY place),
        p_boundaries)
    FROM ledger_parts(p_boundaries)
$definition$;

DROP INDEX "ledger_entries_key_digest";
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT * FROM ledger_indexes('{}') LOOP
        EXECUTE format('CREATE UNIQUE INDEX %I %s', one.name, one.definition);
    END LOOP;
    EXECUTE ledger_definition('{}');
END $$;

-- In place of the primary key, for moving shards by logical replication (docs/scaling.md). It would cost what is logged
-- of an update or a delete; there are none.
ALTER TABLE "ledger_entries" REPLICA IDENTITY FULL;

-- The views that are asked for one user.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['entry_parts', 'invariant_i1_balance', 'invariant_i1_chain', 'invariant_i3_grants', 'invariant_i6_keys'] LOOP
        EXECUTE format('CREATE OR REPLACE VIEW %I AS %s', name,
            regexp_replace(pg_get_viewdef(name::regclass), '\mledger_entries\M', 'ledger', 'g'));
    END LOOP;
END $$;

-- A key is unique in its part by the index, and across the parts by who writes it: a consume looks it up under the lock of
-- the user's row, a grant has a unique key of its own, an expiry has the seq in its key. For what remains, which is rare,
-- this is the index that was: before, the same key of a refund in another scope was refused by it. After the row and not
-- before it: a trigger before it costs every consume 3 µs, although it is not for them.
CREATE FUNCTION "refuse_second_entry"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM ledger l WHERE l.bucket = NEW.bucket AND l.key = NEW.key AND l.user_id || '' = NEW.user_id
            AND l.seq <> NEW.seq AND md5(length(l.user_id)::text || ':' || l.user_id || l.key)::uuid
                = md5(length(NEW.user_id)::text || ':' || NEW.user_id || NEW.key)::uuid) THEN
        RAISE EXCEPTION 'The key % has an entry of this user.', NEW.key USING ERRCODE = 'unique_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER "ledger_entries_key_once" AFTER INSERT ON "ledger_entries"
    FOR EACH ROW WHEN (NEW.type IN ('refunded', 'voided')) EXECUTE FUNCTION "refuse_second_entry"();

-- The look-up of an earlier entry asks all parts. The offset keeps it a statement of its own, into whose parts the
-- planner puts what is asked for; the digest is made once for all of them.
DO $migration$
DECLARE
    definition text := pg_get_functiondef('consume_batch_definition(boolean)'::regprocedure);
    before text := $before$LEFT JOIN ledger_entries e ON e.bucket = q.bucket
            AND md5(length(e.user_id)::text || ':' || e.user_id || e.key)::uuid
                = md5(length(q.user_id)::text || ':' || q.user_id || q.key)::uuid
            AND e.key = q.key AND e.user_id || '' = q.user_id$before$;
BEGIN
    IF position(before IN definition) = 0 THEN
        RAISE EXCEPTION 'The look-up of earlier entries in consume_batch is not what this migration changes.';
    END IF;
    EXECUTE replace(definition, before, $after$CROSS JOIN LATERAL (
            SELECT md5(length(q.user_id)::text || ':' || q.user_id || q.key)::uuid AS digest OFFSET 0) d
        LEFT JOIN LATERAL (
            SELECT l.seq, l.tokens, l.overage_tokens, l.request_hash, l.available_after, l.total_used_after, l.grant_id, l.parts
            FROM ledger l
            WHERE l.bucket = q.bucket AND md5(length(l.user_id)::text || ':' || l.user_id || l.key)::uuid = d.digest
                AND l.key = q.key AND l.user_id || '' = q.user_id OFFSET 0) e ON true$after$);
    EXECUTE consume_batch_definition(consume_lanes() > 1);
END $migration$;
