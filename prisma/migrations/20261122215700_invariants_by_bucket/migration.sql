-- The same invariants in a form that a distributed database plans as well (docs/scaling.md): each table is added up by
-- bucket and user and then joined, in place of a sum per row. Asked of one user, only that user's rows are read, as before.

CREATE OR REPLACE VIEW "invariant_i1_balance" AS
SELECT u.bucket, u.id AS user_id,
       format('entries %s (%s of seq %s), grants %s + %s held, holds %s, row %s + %s held - %s debt',
              coalesce(e.total, 0), coalesce(e.count, 0), coalesce(e.newest, 0), coalesce(g.remaining, 0),
              coalesce(g.held, 0), coalesce(h.held, 0), u.available_tokens, u.held_tokens, u.debt_tokens) AS detail
FROM users u
LEFT JOIN (SELECT bucket, user_id, sum(tokens) AS total, max(seq) AS newest, count(*) AS count
           FROM ledger_entries GROUP BY bucket, user_id) e ON e.bucket = u.bucket AND e.user_id = u.id
LEFT JOIN (SELECT bucket, user_id, sum(remaining_tokens) AS remaining, sum(held_tokens) AS held
           FROM grant_balances GROUP BY bucket, user_id) g ON g.bucket = u.bucket AND g.user_id = u.id
LEFT JOIN (SELECT holds.bucket, holds.user_id, sum((p.part ->> 'tokens')::bigint) AS held
           FROM holds CROSS JOIN LATERAL jsonb_array_elements(holds.parts) AS p(part)
           WHERE holds.status = 'open' GROUP BY holds.bucket, holds.user_id) h ON h.bucket = u.bucket AND h.user_id = u.id
WHERE coalesce(e.total, 0) <> u.available_tokens + u.held_tokens - u.debt_tokens
   OR coalesce(g.remaining, 0) <> u.available_tokens OR coalesce(g.held, 0) <> u.held_tokens
   OR coalesce(h.held, 0) <> u.held_tokens
   OR coalesce(e.newest, 0) <> u.last_seq OR coalesce(e.count, 0) <> coalesce(e.newest, 0);

CREATE OR REPLACE VIEW "invariant_i3_grants" AS
SELECT g.bucket, g.user_id, format('grant %s: amount %s, granted %s, moved %s, remaining %s + %s held, expired %s of %s, voided %s of %s + %s clawed',
                                   g.id, g.amount_tokens, coalesce(l.granted, 0), coalesce(p.moved, 0), b.remaining_tokens,
                                   g.held_tokens, coalesce(p.expired, 0), g.expired_tokens, coalesce(p.voided, 0),
                                   g.voided_tokens, g.clawed_tokens) AS detail
FROM credit_grants g
JOIN grant_balances b ON b.bucket = g.bucket AND b.user_id = g.user_id AND b.id = g.id
LEFT JOIN (SELECT bucket, user_id, grant_id, sum(tokens) AS moved,
                  coalesce(-sum(tokens) FILTER (WHERE type = 'expired'), 0) AS expired,
                  coalesce(-sum(tokens) FILTER (WHERE type = 'voided'), 0) AS voided
           FROM entry_parts GROUP BY bucket, user_id, grant_id) p
    ON p.bucket = g.bucket AND p.user_id = g.user_id AND p.grant_id = g.id
LEFT JOIN (SELECT bucket, user_id, grant_id, sum(tokens) AS granted FROM ledger_entries WHERE type = 'granted'
           GROUP BY bucket, user_id, grant_id) l
    ON l.bucket = g.bucket AND l.user_id = g.user_id AND l.grant_id = g.id
WHERE coalesce(l.granted, 0) <> g.amount_tokens OR coalesce(p.moved, 0) <> b.remaining_tokens + g.held_tokens
   OR coalesce(p.expired, 0) <> g.expired_tokens OR coalesce(p.voided, 0) <> g.voided_tokens + g.clawed_tokens;

CREATE OR REPLACE VIEW "invariant_i5_clawed" AS
SELECT g.bucket, g.user_id, format('grant %s: %s clawed and %s owed of %s, amount %s', g.id, g.clawed_tokens,
                                   g.claw_debt_tokens, g.claw_target_tokens, g.amount_tokens) AS detail
FROM credit_grants g
WHERE g.claw_target_tokens > g.amount_tokens OR g.clawed_tokens + g.claw_debt_tokens > g.claw_target_tokens
UNION ALL
SELECT u.bucket, u.id, format('owed by grants %s, debt %s, settled %s', coalesce(g.owed, 0), u.debt_tokens, coalesce(g.settled, 0))
FROM users u LEFT JOIN (
    SELECT bucket, user_id, sum(claw_debt_tokens) AS owed, sum(settled_debt_tokens) AS settled
    FROM credit_grants GROUP BY bucket, user_id) g ON g.bucket = u.bucket AND g.user_id = u.id
WHERE coalesce(g.owed, 0) <> u.debt_tokens + coalesce(g.settled, 0);
