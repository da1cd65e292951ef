/** Reading the ledger: entries by key, by place, and by page. Writing goes through store/account.ts. */

import type { GrantSource, Part } from '../domain/burn.ts';
import type { EntryType } from '../domain/model.ts';
import { partsSchema } from './account-rows.ts';
import { bucketOf } from './bucket.ts';
import type { Queryable } from './database.ts';

export interface StoredEntry {
  seq: number;
  type: EntryType;
  tokens: number;
  balanceAfter: number;
  availableAfter: number;
  totalUsedAfter: number;
  overageTokens: number;
  debtDeltaTokens: number;
  grantId: string | null;
  /** Signed, in the order of burning. */
  parts: Part[];
  key: string;
  requestHash: Buffer | null;
  feature: string | null;
  reason: string | null;
  metadata: Record<string, unknown> | null;
  refersToSeq: number | null;
  holdId: string | null;
  requestId: string | null;
  createdAt: Date;
}

export type EntryRow = Omit<StoredEntry, 'parts'> & { parts: unknown; source: GrantSource | null };

/** Of an entry `e`. */
const ENTRY_COLUMNS = `e.seq, e.type, e.tokens, e.balance_after as "balanceAfter", e.available_after as "availableAfter",
  e.total_used_after as "totalUsedAfter", e.overage_tokens as "overageTokens",
  e.debt_delta_tokens as "debtDeltaTokens", e.grant_id as "grantId", e.parts, e.key, e.request_hash as "requestHash",
  e.feature, e.reason, e.metadata, e.refers_to_seq as "refersToSeq", e.hold_id as "holdId",
  e.request_id as "requestId", e.created_at as "createdAt"`;

/** Of an entry `e` and its grant `g`. */
export const ENTRY_SELECT = `${ENTRY_COLUMNS}, g.source`;

/** By one of the names under which entries are read by user and key (docs/decisions/0012). */
const from = (entries: string): string =>
  `select ${ENTRY_SELECT} from ${entries} e left join credit_grants g on g.bucket = $1 and g.id = e.grant_id`;

const OF_BUCKET = `${from('ledger')} where e.bucket = $1`;
const OF_USER = `${OF_BUCKET} and e.user_id = $2`;
/** Nothing is joined to it: Citus would send the call to a worker, where it can ask nothing (docs/scaling.md). */
const PAGE = `select ${ENTRY_COLUMNS} from ledger_page($1, $2, $3, $4) e order by e.seq desc`;
const SOURCES = `select id, source from credit_grants where bucket = $1 and id = any($2)`;
/** By the index of what refers to others, which is of the whole table: few do. */
const REFERRING = `${from('ledger_entries')} where e.bucket = $1 and e.user_id = $2 and e.refers_to_seq = $3 order by e.seq`;

/** By the indexes of keys; an equality of the user's id would let the planner read all entries of the user. */
const OF_KEY = `${OF_BUCKET} and e.user_id || ' ' || e.key = $2 || ' ' || $3`;

export function entryOfRow({ source, ...row }: EntryRow): StoredEntry {
  if (row.parts !== null) return { ...row, parts: partsSchema.parse(row.parts) };
  const isSingle = row.grantId !== null && source !== null;
  // What settled or became debt never was in the grant.
  const tokens = row.tokens + row.debtDeltaTokens;
  return { ...row, parts: isSingle ? [{ grantId: row.grantId ?? '', source, tokens }] : [] };
}

export async function findEntryByKey(
  tx: Queryable,
  userId: string,
  key: string,
): Promise<StoredEntry | undefined> {
  const { rows } = await tx.query<EntryRow>(OF_KEY, [bucketOf(userId), userId, key]);
  return rows[0] && entryOfRow(rows[0]);
}

export async function findEntry(
  tx: Queryable,
  userId: string,
  seq: number,
): Promise<StoredEntry | undefined> {
  const { rows } = await tx.query<EntryRow>(`${OF_USER} and e.seq = $3`, [bucketOf(userId), userId, seq]);
  return rows[0] && entryOfRow(rows[0]);
}

/** Entries that say they are about the one at `seq`: what was given back of a consumption. Oldest first. */
export async function listEntriesReferringTo(
  db: Queryable,
  userId: string,
  seq: number,
): Promise<StoredEntry[]> {
  const { rows } = await db.query<EntryRow>(REFERRING, [bucketOf(userId), userId, seq]);
  return rows.map(entryOfRow);
}

/** Newest first, from below `beforeSeq`. */
export async function listEntries(
  db: Queryable,
  userId: string,
  { beforeSeq, limit }: { beforeSeq: number; limit: number },
): Promise<StoredEntry[]> {
  const bucket = bucketOf(userId);
  const { rows } = await db.query<Omit<EntryRow, 'source'>>(PAGE, [bucket, userId, beforeSeq, limit]);
  const grantIds = [...new Set(rows.flatMap(({ grantId }) => grantId ?? []))];
  const grants = await db.query<{ id: string; source: GrantSource }>(SOURCES, [bucket, grantIds]);
  const sourceOf = new Map(grants.rows.map(({ id, source }) => [id, source]));
  return rows.map((row) => entryOfRow({ ...row, source: sourceOf.get(row.grantId ?? '') ?? null }));
}
