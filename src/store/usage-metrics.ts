/** Sums over everybody's ledger in a period; docs/operations.md defines every number. */
import { FREE_PLAN } from '../domain/plans.ts';
import type { Queryable } from './database.ts';

/** Half-open, UTC. */
export interface MetricsPeriod {
  from: Date;
  to: Date;
}

/** What entries of one kind did on one day, by feature and by the plan that the user had. */
export interface UsageSum {
  /** `2026-01-31`, UTC. */
  day: string;
  type: 'granted' | 'consumed' | 'refunded' | 'expired' | 'voided';
  feature: string | null;
  plan: string;
  entries: number;
  /** Signed changes of balances; overage, which changes none, apart. */
  tokens: number;
  overageTokens: number;
}

/**
 * A user's plan at an entry is that of the newest allowance which had landed by then: entries and grants do not change,
 * so a period that is over keeps its numbers. The period is found by the BRIN index of each table. Read twice and not kept
 * between: with two million entries that takes PostgreSQL no longer, and Citus would gather them on the coordinator.
 */
export async function sumUsage(tx: Queryable, { from, to }: MetricsPeriod): Promise<UsageSum[]> {
  const { rows } = await tx.query<UsageSum>(
    `with entries as not materialized (
       select bucket, user_id, type, feature, tokens, overage_tokens, created_at from ledger_entries
       where created_at >= $1 and created_at < $2
     ), plans as (
       select bucket, user_id, offer as plan, created_at as since,
              lead(created_at) over (partition by bucket, user_id order by created_at, id) as until
       from credit_grants where source = 'allowance' and created_at < $2
         and (bucket, user_id) in (select bucket, user_id from entries)
     )
     select to_char(e.created_at at time zone 'UTC', 'YYYY-MM-DD') as day, e.type, e.feature,
            coalesce(p.plan, $3) as plan, count(*) as entries, sum(e.tokens) as tokens,
            sum(e.overage_tokens) as "overageTokens"
     from entries e left join plans p on p.bucket = e.bucket and p.user_id = e.user_id
       and p.since <= e.created_at and (p.until is null or p.until > e.created_at)
     group by 1, 2, 3, 4 order by 1, 2, 3, 4`,
    [from, to, FREE_PLAN],
  );
  return rows;
}

/** How many users have consumed anything in the period. */
export async function countConsumers(tx: Queryable, { from, to }: MetricsPeriod): Promise<number> {
  const { rows } = await tx.query<{ count: number }>(
    `select count(*) as count from (select distinct bucket, user_id from ledger_entries
       where created_at >= $1 and created_at < $2 and type = 'consumed') consumers`,
    [from, to],
  );
  return rows[0]?.count ?? 0;
}

/** Users who had signed up by the end of the period, by the plan that they have now. */
export async function countUsersByPlan(
  tx: Queryable,
  { to }: Pick<MetricsPeriod, 'to'>,
): Promise<{ plan: string; isSubscribed: boolean; users: number }[]> {
  const { rows } = await tx.query<{ plan: string; isSubscribed: boolean; users: number }>(
    `select subscription_tier as plan, is_subscribed as "isSubscribed", count(*) as users from users
     where created_at < $1 group by 1, 2 order by 1, 2`,
    [to],
  );
  return rows;
}

export interface Conversions {
  /** Users who signed up in the period, and those of them who had an allowance of another plan than free by its end. */
  signups: number;
  convertedSignups: number;
  /** Users, whenever they signed up, whose first allowance of another plan than free landed in the period. */
  conversions: number;
}

export async function countConversions(tx: Queryable, { from, to }: MetricsPeriod): Promise<Conversions> {
  const { rows } = await tx.query<Conversions>(
    `with paid as not materialized (
       select distinct bucket, user_id from credit_grants
       where source = 'allowance' and offer <> $3 and created_at >= $1 and created_at < $2
     ), signups as (
       select u.bucket, u.id, p.user_id is not null as is_converted
       from users u left join paid p on p.bucket = u.bucket and p.user_id = u.id
       where u.created_at >= $1 and u.created_at < $2
     )
     select s.signups, s.converted as "convertedSignups", c.conversions
     from (select count(*) as signups, count(*) filter (where is_converted) as converted from signups) s
     cross join (select count(*) as conversions from (
       select bucket, user_id from credit_grants
       where source = 'allowance' and offer <> $3 and created_at < $2
         and (bucket, user_id) in (select bucket, user_id from paid)
       group by bucket, user_id having min(created_at) >= $1) first) c`,
    [from, to, FREE_PLAN],
  );
  const row = rows[0];
  if (!row) throw new Error('The database counted no conversions.');
  return row;
}
