-- Who is due, of all buckets: one index probe per bucket, in functions of the database because a distributed one has to
-- ask otherwise (prisma/citus.sql replaces them): Citus takes no limit in a subquery that a function's rows lead.
-- p_is_lapsed: of the due ones, those whose paid plan has ended. Parked users are left out.
CREATE FUNCTION "due_buckets"(p_now timestamptz, p_is_lapsed boolean) RETURNS TABLE (bucket smallint)
LANGUAGE sql STABLE AS $$
    SELECT b.bucket::smallint FROM generate_series(0, 1023) b(bucket) CROSS JOIN LATERAL (
        SELECT 1 FROM users u WHERE u.bucket = b.bucket AND u.next_due_at <= p_now AND u.parked_at IS NULL
            AND (NOT p_is_lapsed OR (u.is_subscribed AND u.access_ends_at <= p_now))
        LIMIT 1) due
$$;

-- The longest overdue first.
CREATE FUNCTION "due_users"(p_now timestamptz, p_is_lapsed boolean, p_limit int) RETURNS TABLE (id text)
LANGUAGE sql STABLE AS $$
    SELECT due.id FROM generate_series(0, 1023) b(bucket) CROSS JOIN LATERAL (
        SELECT u.id, u.next_due_at FROM users u WHERE u.bucket = b.bucket AND u.next_due_at <= p_now AND u.parked_at IS NULL
            AND (NOT p_is_lapsed OR (u.is_subscribed AND u.access_ends_at <= p_now))
        ORDER BY u.next_due_at LIMIT p_limit) due
    ORDER BY due.next_due_at LIMIT p_limit
$$;
