/**
 * Reading entries of many users at once: one statement, however many are wanted (store/row-sets.ts). The offset keeps the
 * look-up a statement of its own, into whose parts the planner puts what is asked for (docs/decisions/0012).
 */
import type { Consumption } from '../domain/model.ts';
import type { Transaction } from './database.ts';
import type { Lane } from './lanes.ts';
import { ENTRY_SELECT, type EntryRow, entryOfRow, type StoredEntry } from './ledger.ts';
import { type OfUser, RowSetStatement } from './row-sets.ts';

/** As for one entry (store/ledger.ts): by the indexes of keys alone. */
const BY_KEY = new RowSetStatement(
  'entries_by_key',
  { key: 'text' },
  ({ rows, bucket }) => `select r.user_id as "userId", ${ENTRY_SELECT}
    from ${rows} cross join lateral (
      select l.* from ledger l where l.bucket = ${bucket}
        and l.user_id || ' ' || l.key = r.user_id || ' ' || r.key offset 0) e
    left join credit_grants g on g.bucket = ${bucket} and g.id = e.grant_id`,
);

/** Entries that are not there are left out. */
export async function findEntriesByKey(
  tx: Transaction,
  lane: Lane,
  wanted: readonly OfUser<{ key: string }>[],
): Promise<OfUser<StoredEntry>[]> {
  const rows = await BY_KEY.read<EntryRow & { userId: string }>(tx, lane, wanted);
  return rows.map(({ userId, ...row }) => ({ userId, row: entryOfRow(row) }));
}

const CONSUMPTIONS = new RowSetStatement(
  'consumptions',
  { seq: 'bigint' },
  ({ rows, bucket }) => `select r.user_id as "userId", ${ENTRY_SELECT},
      (select coalesce(sum(b.tokens + b.overage_tokens), 0) from ledger_entries b where b.bucket = ${bucket}
         and b.user_id = r.user_id and b.refers_to_seq = r.seq and b.type = 'refunded') as "refundedTokens"
    from ${rows} cross join lateral (
      select l.* from ledger l where l.bucket = ${bucket} and l.user_id = r.user_id and l.seq = r.seq offset 0) e
    left join credit_grants g on g.bucket = ${bucket} and g.id = e.grant_id
    where e.type = 'consumed'`,
);

/** Consumptions with what has been given back of them; entries that are none are left out. */
export async function findConsumptions(
  tx: Transaction,
  lane: Lane,
  wanted: readonly OfUser<{ seq: number }>[],
): Promise<OfUser<Consumption>[]> {
  type Row = EntryRow & { userId: string; refundedTokens: number };
  const rows = await CONSUMPTIONS.read<Row>(tx, lane, wanted);
  return rows.map(({ userId, refundedTokens, ...row }) => {
    const { seq, parts, overageTokens, createdAt, feature } = entryOfRow(row);
    const taken = parts.map((part) => ({ ...part, tokens: -part.tokens }));
    return { userId, row: { seq, parts: taken, overageTokens, refundedTokens, createdAt, feature } };
  });
}
