/**
 * What a user had at an instant, from what is never rewritten: the entries up to then, less what holds had set aside.
 * What is due by that instant must have been applied before.
 */
import { z } from 'zod';
import { bucketOf } from './bucket.ts';
import type { Queryable } from './database.ts';

const grantsSchema = z.array(
  z.object({
    id: z.string(),
    source: z.enum(['allowance', 'bonus', 'adjustment', 'top_up']),
    priority: z.int(),
    effectiveAt: z.iso.datetime({ offset: true }).transform((text) => new Date(text)),
    expiresAt: z.iso
      .datetime({ offset: true })
      .transform((text) => new Date(text))
      .nullable(),
    remainingTokens: z.int(),
    heldTokens: z.int(),
  }),
);

export interface BalanceAt {
  /** Available + held − debt, after the last entry up to then; 0 before the first. */
  balance: number;
  totalTokensUsed: number;
  /** Grants with tokens in them, spendable or held. */
  grants: z.infer<typeof grantsSchema>;
}

/**
 * Entries count up to the last one whose time is not later than `at`: of two that were written within the same
 * milliseconds by machines with different clocks, the order of writing decides.
 */
const BALANCE_AT = `
  with last as (
    select seq, balance_after, total_used_after from ledger
    where bucket = $1 and user_id = $2 and created_at <= $3 order by seq desc limit 1
  ), moved as (
    select p.grant_id, sum(p.tokens) as tokens from entry_parts p
    where p.bucket = $1 and p.user_id = $2 and p.seq <= (select seq from last) group by p.grant_id
  ), held as (
    select p.part ->> 'grantId' as grant_id, sum((p.part ->> 'tokens')::bigint) as tokens
    from holds h cross join lateral jsonb_array_elements(h.parts) as p(part)
    where h.bucket = $1 and h.user_id = $2 and h.created_at <= $3 and (h.settled_at is null or h.settled_at > $3)
    group by 1
  ), grants as (
    select g.id, g.source, g.priority, g.effective_at, g.expires_at, m.tokens,
           least(m.tokens, coalesce(h.tokens, 0)) as held
    from moved m join credit_grants g on g.bucket = $1 and g.id = m.grant_id
    left join held h on h.grant_id = m.grant_id
    where m.tokens > 0
  )
  select coalesce((select balance_after from last), 0) as balance,
         coalesce((select total_used_after from last), 0) as "totalTokensUsed",
         coalesce((select jsonb_agg(jsonb_build_object('id', id, 'source', source, 'priority', priority,
           'effectiveAt', effective_at, 'expiresAt', expires_at, 'remainingTokens', tokens - held, 'heldTokens', held))
           from grants), '[]') as grants`;

export async function findBalanceAt(db: Queryable, userId: string, at: Date): Promise<BalanceAt> {
  const { rows } = await db.query<Omit<BalanceAt, 'grants'> & { grants: unknown }>(BALANCE_AT, [
    bucketOf(userId),
    userId,
    at,
  ]);
  const row = rows[0];
  if (!row) throw new Error('The database gave no balance.');
  return { ...row, grants: grantsSchema.parse(row.grants) };
}
