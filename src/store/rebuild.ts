/** Makes the balances and grants of a user what the ledger says. Entries are read and never written here. */
import type { Grant } from '../domain/model.ts';
import { type LedgerGrant, type Rebuilt, rebuild } from '../domain/rebuild.ts';
import { GRANT_SELECT, grantTypes } from './account-rows.ts';
import { bucketOf } from './bucket.ts';
import type { Transaction } from './database.ts';
import { columnOf } from './row-sets.ts';

interface Totals {
  seq: number;
  count: number;
  debtTokens: number;
  totalTokensUsed: number;
}

/**
 * The caller holds no account of this user in the same transaction.
 * @returns what was changed, in words; empty where everything agreed
 * @throws Error where entries are missing or contradict each other, or a row is gone that nothing describes
 */
export async function rebuildUser(
  tx: Transaction,
  userId: string,
  describe: (key: string) => Partial<Grant> | null,
  now: Date,
): Promise<string[]> {
  const key = [bucketOf(userId), userId];
  await tx.query(`select 1 from users where bucket = $1 and id = $2 for update`, key);
  const totals = await readTotals(tx, key);
  if (totals.count !== totals.seq) {
    throw new Error(
      `${totals.seq - totals.count} ledger entries are gone: bring them back from a backup, then reconcile again.`,
    );
  }
  const { rows: grants } = await tx.query<Grant>(
    `select ${GRANT_SELECT} from credit_grants where bucket = $1 and user_id = $2 order by created_at, id`,
    key,
  );
  const rows = await withHead(tx, key, grants);
  const rebuilt = rebuild(await readLedgerGrants(tx, key), rows, await readHeld(tx, key), describe, now);
  await write(tx, key, rebuilt);
  const isChanged = await writeUser(tx, key, totals, now);
  return inWords(rebuilt, isChanged);
}

function inWords({ changed, restored, removed }: Rebuilt, isUserChanged: boolean): string[] {
  return [
    ...changed.map(({ id }) => `grant ${id} set to what its entries say`),
    ...restored.map(({ id }) => `grant ${id} restored from its entries`),
    ...removed.map((row) => `grant row without any entry removed: ${JSON.stringify(row)}`),
    ...(isUserChanged ? ['balance set to the sum of the entries'] : []),
  ];
}

async function readTotals(tx: Transaction, key: unknown[]): Promise<Totals> {
  const { rows } = await tx.query<Totals>(
    `select coalesce(max(seq), 0) as seq, count(*) as count, coalesce(sum(debt_delta_tokens), 0) as "debtTokens",
       coalesce((array_agg(total_used_after order by seq desc))[1], 0) as "totalTokensUsed"
     from ledger where bucket = $1 and user_id = $2`,
    key,
  );
  return rows[0] ?? { seq: 0, count: 0, debtTokens: 0, totalTokensUsed: 0 };
}

async function withHead(tx: Transaction, key: unknown[], grants: Grant[]): Promise<Grant[]> {
  const { rows } = await tx.query<{ id: string | null; tokens: number }>(
    `select head_grant_id as id, head_remaining_tokens as tokens from users where bucket = $1 and id = $2`,
    key,
  );
  return grants.map((grant) =>
    grant.id === rows[0]?.id ? { ...grant, remainingTokens: rows[0].tokens } : grant,
  );
}

async function readLedgerGrants(tx: Transaction, key: unknown[]): Promise<LedgerGrant[]> {
  const { rows } = await tx.query<LedgerGrant>(
    `select e.grant_id as id, e.key, e.tokens as "amountTokens", e.reason, e.created_at as "createdAt",
       p.moved as "movedTokens", p.expired as "expiredTokens", p.voided as "voidedTokens", p.clawed as "clawedTokens",
       -e.debt_delta_tokens - p.returned as "settledDebtTokens",
       (select coalesce(sum(case c.type when 'refunded' then -c.tokens else c.debt_delta_tokens end), 0)
        from ledger c where c.bucket = $1 and c.user_id = $2 and c.key like 'claw:' || e.grant_id || ':%')
         as "clawDebtTokens"
     from ledger e cross join lateral (
       select coalesce(sum(tokens), 0) as moved,
         coalesce(-sum(tokens) filter (where type = 'expired'), 0) as expired,
         coalesce(-sum(tokens) filter (where type = 'voided' and key not like 'claw:%'), 0) as voided,
         coalesce(-sum(tokens) filter (where type = 'voided' and key like 'claw:%'), 0) as clawed,
         coalesce(sum(tokens) filter (where type = 'refunded' and key like 'claw:%'), 0) as returned
       from entry_parts ep where ep.bucket = $1 and ep.user_id = $2 and ep.grant_id = e.grant_id) p
     where e.bucket = $1 and e.user_id = $2 and e.type = 'granted' order by e.seq`,
    key,
  );
  return rows;
}

async function readHeld(tx: Transaction, key: unknown[]): Promise<Map<string, number>> {
  const { rows } = await tx.query<{ id: string; tokens: number }>(
    `select p.part ->> 'grantId' as id, sum((p.part ->> 'tokens')::bigint) as tokens
     from holds cross join lateral jsonb_array_elements(holds.parts) as p(part)
     where bucket = $1 and user_id = $2 and status = 'open' group by 1`,
    key,
  );
  return new Map(rows.map(({ id, tokens }) => [id, tokens]));
}

const grantFields = Object.keys(grantTypes) as (keyof Grant)[];

const columnsOf = (grants: readonly Grant[]): string =>
  JSON.stringify(
    grants.map((grant) => Object.fromEntries(grantFields.map((field) => [columnOf(field), grant[field]]))),
  );

async function write(
  tx: Transaction,
  key: unknown[],
  { changed, restored, removed }: Rebuilt,
): Promise<void> {
  const columns = grantFields.map(columnOf).join(', ');
  await tx.query(`delete from credit_grants where bucket = $1 and user_id = $2 and id = any($3)`, [
    ...key,
    removed.map(({ id }) => id),
  ]);
  await tx.query(
    `insert into credit_grants (bucket, user_id, ${columns})
     select $1, $2, ${columns} from jsonb_populate_recordset(null::credit_grants, $3::jsonb)`,
    [...key, columnsOf(restored)],
  );
  await tx.query(
    `update credit_grants g set amount_tokens = r.amount_tokens, remaining_tokens = r.remaining_tokens,
       held_tokens = r.held_tokens, expired_tokens = r.expired_tokens, voided_tokens = r.voided_tokens,
       clawed_tokens = r.clawed_tokens, claw_debt_tokens = r.claw_debt_tokens, claw_target_tokens = r.claw_target_tokens,
       settled_debt_tokens = r.settled_debt_tokens, closed_at = r.closed_at
     from jsonb_populate_recordset(null::credit_grants, $3::jsonb) r
     where g.bucket = $1 and g.user_id = $2 and g.id = r.id`,
    [...key, columnsOf(changed)],
  );
}

/** Without a head: the next one to take the account picks it. */
async function writeUser(tx: Transaction, key: unknown[], totals: Totals, now: Date): Promise<boolean> {
  await tx.query(
    `update credit_grants g set remaining_tokens = u.head_remaining_tokens from users u
     where u.bucket = $1 and u.id = $2 and g.bucket = $1 and g.id = u.head_grant_id
       and (select coalesce(sum(tokens), 0) from entry_parts p
            where p.bucket = $1 and p.user_id = $2 and p.grant_id = g.id) - g.held_tokens
           = u.head_remaining_tokens`,
    key,
  );
  const { rows } = await tx.query<{ isChanged: boolean }>(
    `with sums as (select coalesce(sum(remaining_tokens), 0) as available, coalesce(sum(held_tokens), 0) as held
                   from credit_grants where bucket = $1 and user_id = $2),
          before as (select * from users where bucket = $1 and id = $2)
     update users u set available_tokens = s.available, held_tokens = s.held, debt_tokens = $3, last_seq = $4,
       total_tokens_used = $5, head_grant_id = null, head_source = null, head_remaining_tokens = 0,
       next_due_at = least(u.next_due_at, $6)
     from sums s, before b where u.bucket = $1 and u.id = $2
     returning (b.available_tokens, b.held_tokens, b.debt_tokens, b.last_seq, b.total_tokens_used)
       is distinct from (u.available_tokens, u.held_tokens, u.debt_tokens, u.last_seq, u.total_tokens_used) as "isChanged"`,
    [...key, totals.debtTokens, totals.seq, totals.totalTokensUsed, now],
  );
  return rows[0]?.isChanged ?? false;
}
