/**
 * The roll that nearly all have at the end of a month, as one statement for all of them: the window of a free user ends
 * of whom there is nothing but its allowance. What it writes is what the rules (domain/roll.ts) would, row for row;
 * whoever it does not take is left to them. Half of a reset's time went into reading such accounts and writing them back.
 */
import { EXPIRED_BY_TIME } from '../domain/account.ts';
import { type Catalogue, FREE_PLAN, planDefinition, TOKENS_PER_CREDIT } from '../domain/plans.ts';
import { arrayOf } from './arrays.ts';
import { bucketOf } from './bucket.ts';
import type { Transaction } from './database.ts';
import { newUserRowId } from './ids.ts';

/** A month, counted from the anchor and clamped as PostgreSQL and domain/period.ts both do it. */
const monthsAfterAnchor = (count: string): string =>
  `(u.period_anchor at time zone 'UTC' + make_interval(months => ${count})) at time zone 'UTC'`;

const monthOf = (time: string): string =>
  `extract(year from ${time} at time zone 'UTC')::int * 12 + extract(month from ${time} at time zone 'UTC')::int`;

/**
 * $1 buckets, $2 users, $3 ids for their new grants, $4 now, $5 the allowance's tokens. A row that was read is changed
 * where it lies (ctid): nobody moves the rows of a user that we hold. The offsets keep what they follow from being
 * reckoned again wherever it is used.
 */
const ROLL = `
  with leaving as materialized (
    select u.bucket, u.id, u.ctid as row_id, u.last_seq, u.available_tokens as left_tokens, u.total_tokens_used,
      u.period_end as starts, window_end.ends, g.id as old_grant_id, g.row_id as old_grant_row_id, r.new_grant_id,
      u.last_seq + (u.available_tokens > 0)::int + 1 as new_seq,
      'allowance:${FREE_PLAN}:' || u.id || ':' || to_char(u.period_end at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
        as grant_key
    from unnest($1::smallint[], $2::text[], $3::text[]) r(bucket, id, new_grant_id)
    join users u on u.bucket = r.bucket and u.id = r.id
    cross join lateral (select ${monthOf('u.period_end')} - (${monthOf('u.period_anchor')}) as months offset 0) passed
    cross join lateral (select ${monthsAfterAnchor('passed.months + 1')} as ends offset 0) window_end
    cross join lateral (
      select min(o.id) as id, min(o.ctid) as row_id, min(o.remaining_tokens) as remaining_tokens
      from credit_grants o where o.bucket = u.bucket and o.user_id = u.id
        and (o.closed_at is null or o.held_tokens > 0 or o.settled_debt_tokens > 0)
      having count(*) = 1 and bool_and(o.closed_at is null and o.held_tokens = 0 and o.source = 'allowance'
        and o.subscription_id is null and o.expires_at = u.period_end)) g
    where u.subscription_tier = '${FREE_PLAN}' and u.stripe_customer_id is null and u.current_subscription_id is null
      and u.access_ends_at is null and u.held_tokens = 0 and u.debt_tokens = 0
      and u.next_due_at = u.period_end and u.period_end <= $4 and window_end.ends > $4
      and passed.months >= 0 and u.period_end = ${monthsAfterAnchor('passed.months')}
      and (u.free_allowance_start is null or u.free_allowance_start < u.period_end)
      and u.available_tokens = case when u.head_grant_id = g.id then u.head_remaining_tokens else g.remaining_tokens end
      and not exists (select from holds h where h.bucket = u.bucket and h.user_id = u.id and h.status = 'open')
  ), entered as (
    insert into ledger_entries (bucket, user_id, seq, type, tokens, balance_after, available_after, total_used_after,
      grant_id, key, reason, created_at)
    select bucket, id, last_seq + 1, 'expired'::entry_type, -left_tokens, 0, 0, total_tokens_used,
      old_grant_id, 'expired:' || old_grant_id || ':' || last_seq + 1, '${EXPIRED_BY_TIME}', starts
    from leaving where left_tokens > 0
    union all
    select bucket, id, new_seq, 'granted', $5::bigint, $5::bigint, $5::bigint, total_tokens_used, new_grant_id,
      grant_key, 'Allowance of ${FREE_PLAN}', starts
    from leaving
  ), closed as (
    update credit_grants g
    set remaining_tokens = 0, closed_at = l.starts, expired_tokens = g.expired_tokens + l.left_tokens
    from leaving l where g.bucket = l.bucket and g.ctid = l.old_grant_row_id
    returning 1
  ), granted as (
    insert into credit_grants (bucket, id, user_id, key, source, amount_tokens, remaining_tokens, expires_at, priority,
      effective_at, offer, reason, window_start, window_end, window_kind, created_at)
    select bucket, new_grant_id, id, grant_key, 'allowance', $5::bigint, $5::bigint, ends, 50,
      starts, '${FREE_PLAN}', 'Allowance of ${FREE_PLAN}', starts, ends, 'full', starts
    from leaving
  )
  update users u set available_tokens = $5::bigint, monthly_tokens_used = 0, monthly_reset_date = l.starts,
    period_end = l.ends, free_allowance_start = l.starts, head_grant_id = l.new_grant_id, head_source = 'allowance',
    head_remaining_tokens = $5::bigint, last_seq = l.new_seq, next_due_at = l.ends, updated_at = $4
  from leaving l where u.bucket = l.bucket and u.ctid = l.row_id
  returning u.id, (select count(*)::int from closed) as "closedGrants"`;

/**
 * @param userIds due ones, whose rows this transaction has locked before: so the statement sees what their last holder did
 * @returns who was rolled
 * @throws Error where not as many grants were closed as users rolled
 */
export async function rollFreeUsers(
  tx: Transaction,
  userIds: readonly string[],
  { catalogue, now }: { catalogue: Catalogue; now: Date },
): Promise<Set<string>> {
  const { reset, creditsPerPeriod } = planDefinition(catalogue, FREE_PLAN);
  if (reset !== 'clock') return new Set();
  const { rows } = await tx.query<{ id: string; closedGrants: number }>({
    name: 'roll_free_users',
    text: ROLL,
    values: [
      arrayOf('smallint', userIds, bucketOf),
      arrayOf('text', userIds, (id) => id),
      arrayOf('text', userIds, (id) => newUserRowId('gr', id)),
      now,
      creditsPerPeriod * TOKENS_PER_CREDIT,
    ],
  });
  const closed = rows[0]?.closedGrants ?? 0;
  if (closed !== rows.length)
    throw new Error(`${rows.length} users rolled, ${closed} of their grants closed.`);
  return new Set(rows.map(({ id }) => id));
}
