-- ── By hand: no statement of these is one that Prisma would write ───────────────────────────────────────────────────

-- The page of a ledger asks for itself, in PL/pgSQL. A function in SQL is put into the statement that calls it, and Citus
-- plans no parameters of such a one (its planner says so: "parameterized queries for SQL functions referencing distributed
-- tables are not supported"). For the same reason nothing is joined to it: Citus would send the call to a worker with what
-- it is joined to, and there it may ask nothing. Only the page differs from the text of 20261127210000.
CREATE OR REPLACE FUNCTION "ledger_definition"(p_boundaries date[]) RETURNS text LANGUAGE sql STABLE AS $definition$
    SELECT format($texts$
        CREATE OR REPLACE VIEW "ledger" AS %s;
        CREATE OR REPLACE FUNCTION "ledger_page"(p_bucket smallint, p_user text, p_before bigint, p_limit int)
        RETURNS SETOF ledger_entries LANGUAGE plpgsql STABLE AS $page$ BEGIN
            RETURN QUERY SELECT * FROM (%s) page ORDER BY seq DESC LIMIT p_limit;
        END $page$;
        CREATE OR REPLACE FUNCTION "ledger_boundaries"() RETURNS date[] LANGUAGE sql IMMUTABLE AS $list$ SELECT %L::date[] $list$;
        $texts$,
        string_agg('SELECT * FROM ledger_entries WHERE ' || condition, ' UNION ALL ' ORDER BY place),
        string_agg('(SELECT * FROM ledger_entries WHERE bucket = p_bucket AND user_id = p_user AND seq < p_before AND '
            || condition || ' ORDER BY seq DESC LIMIT p_limit)', ' UNION ALL ' ORDER BY place),
        p_boundaries)
    FROM ledger_parts(p_boundaries)
$definition$;
DO $$ BEGIN EXECUTE ledger_definition(ledger_boundaries()); END $$;
