/** Many consumes decided by one statement and made durable by one commit: the function `consume_batch`. */
import type { GrantSource, Part } from '../domain/burn.ts';
import { partsSchema } from './account-rows.ts';
import { bucketOf } from './bucket.ts';
import type { Pool } from './database.ts';
import type { Lane } from './lanes.ts';
import type { StoredEntry } from './ledger.ts';

/** One consume; `tokens` is what it costs. */
export interface BatchedConsume {
  userId: string;
  /** Of the ledger entry. */
  key: string;
  tokens: number;
  requestHash: Buffer;
  feature: string | null;
  metadata: Record<string, unknown> | null;
  requestId: string | null;
  now: Date;
}

/** What an answer says of an entry. */
export type DecidedEntry = Pick<
  StoredEntry,
  'seq' | 'tokens' | 'overageTokens' | 'availableAfter' | 'totalUsedAfter' | 'parts'
>;

export type Decision =
  | { outcome: 'taken' | 'replayed'; entry: DecidedEntry }
  /** The key was used for another request. */
  | { outcome: 'reused' }
  /** The balance is too small; nothing was written. */
  | { outcome: 'denied'; availableTokens: number; heldTokens: number; periodEnd: Date };

/** In the order of `o_*` in the migration. */
interface Row {
  o_outcome: 'taken' | 'replayed' | 'reused' | 'denied' | null;
  o_seq: number;
  o_tokens: number;
  o_overage_tokens: number;
  o_available_tokens: number;
  o_total_tokens_used: number;
  o_grant_id: string | null;
  o_source: GrantSource | null;
  o_parts: unknown;
  o_held_tokens: number;
  o_period_end: Date;
}

/**
 * Decides each request by itself, in the given order, in one transaction of its own. A user and key may be in it once.
 * @param lane of all of their users
 * @returns one decision per request; undefined where it has to be decided alone (store/account.ts): the user is
 *   unknown, locked just now or has something due, or a metered plan goes beyond its balance
 */
export async function consumeBatch(
  pool: Pool,
  lane: Lane,
  requests: readonly BatchedConsume[],
): Promise<(Decision | undefined)[]> {
  const column = <T>(of: (request: BatchedConsume) => T): T[] => requests.map(of);
  const { rows } = await pool.query<Row>({
    name: 'consume_batch',
    text: 'select * from consume_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)',
    values: [
      lane,
      column(({ userId }) => bucketOf(userId)),
      column(({ userId }) => userId),
      column(({ key }) => key),
      column(({ tokens }) => tokens),
      column(({ requestHash }) => requestHash),
      column(({ feature }) => feature),
      column(({ metadata }) => metadata && JSON.stringify(metadata)),
      column(({ requestId }) => requestId),
      column(({ now }) => now.toISOString()),
    ],
  });
  return rows.map(decisionOf);
}

function decisionOf(row: Row): Decision | undefined {
  switch (row.o_outcome) {
    case null:
      return undefined;
    case 'reused':
      return { outcome: 'reused' };
    case 'denied':
      return {
        outcome: 'denied',
        availableTokens: row.o_available_tokens,
        heldTokens: row.o_held_tokens,
        periodEnd: row.o_period_end,
      };
    default:
      return { outcome: row.o_outcome, entry: entryOf(row) };
  }
}

function entryOf(row: Row): DecidedEntry {
  return {
    seq: row.o_seq,
    tokens: row.o_tokens,
    overageTokens: row.o_overage_tokens,
    availableAfter: row.o_available_tokens,
    totalUsedAfter: row.o_total_tokens_used,
    parts: partsOf(row),
  };
}

function partsOf({ o_parts: parts, o_grant_id: grantId, o_source: source, o_tokens: tokens }: Row): Part[] {
  if (parts !== null) return partsSchema.parse(parts);
  return grantId === null || source === null ? [] : [{ grantId, source, tokens }];
}
