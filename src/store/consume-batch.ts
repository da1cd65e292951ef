/** Many consumes decided by one statement and made durable by one commit: the function `consume_batch`. */
import type { QueryArrayConfig, QueryArrayResult } from 'pg';
import { z } from 'zod';
import type { GrantSource } from '../domain/burn.ts';
import { partsSchema } from './account-rows.ts';
import { arrayOf } from './arrays.ts';
import { bucketOf } from './bucket.ts';
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

const entrySchema = z.object({
  seq: z.int(),
  tokens: z.int(),
  overageTokens: z.int(),
  availableAfter: z.int(),
  totalUsedAfter: z.int(),
  parts: partsSchema,
});

/** An answer in full, as the migration writes it. */
const answerSchema = z.discriminatedUnion('outcome', [
  entrySchema.extend({ outcome: z.enum(['taken', 'replayed']) }),
  z.object({ outcome: z.literal('reused') }),
  z.object({
    outcome: z.literal('denied'),
    availableTokens: z.int(),
    heldTokens: z.int(),
    periodEnd: z.coerce.date(),
  }),
]);

/** What sends a batch. */
export interface BatchConnection {
  query<Row extends unknown[]>(statement: QueryArrayConfig): Promise<Pick<QueryArrayResult<Row>, 'rows'>>;
}

type Column<T> = readonly T[];

/**
 * As columns: a row for each was half of what reading the answers cost. Numbers are exact, as the tables bound them by
 * 2^53 (CHECK constraints).
 */
type Answers = [
  /** Of each entry that was made; the place of its request counts from 1. */
  places: Column<number> | null,
  seqs: Column<number>,
  availables: Column<number>,
  totals: Column<number>,
  /** The only grant that paid, and its source; null where there were several. */
  grantIds: Column<string | null>,
  sources: Column<GrantSource | null>,
  /** Of all else that is decided, and of entries of several grants. */
  placesInFull: Column<number> | null,
  inFull: Column<unknown>,
];

/**
 * Decides each request by itself, in the given order, in one transaction of its own. A user and key may be in it once.
 * @param lane of all of their users
 * @returns one decision per request; undefined where it has to be decided alone (store/account.ts): the user is
 *   unknown, locked just now or has something due, or a metered plan goes beyond its balance
 */
export async function consumeBatch(
  db: BatchConnection,
  lane: Lane,
  requests: readonly BatchedConsume[],
): Promise<(Decision | undefined)[]> {
  const { rows } = await db.query<[Answers]>({
    name: 'consume_batch',
    text: 'select consume_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)',
    rowMode: 'array',
    values: [
      lane,
      arrayOf('smallint', requests, ({ userId }) => bucketOf(userId)),
      arrayOf('text', requests, ({ userId }) => userId),
      arrayOf('text', requests, ({ key }) => key),
      arrayOf('bigint', requests, ({ tokens }) => tokens),
      arrayOf('bytea', requests, ({ requestHash }) => requestHash),
      arrayOf('text', requests, ({ feature }) => feature),
      arrayOf('jsonb', requests, ({ metadata }) => metadata),
      arrayOf('text', requests, ({ requestId }) => requestId),
      arrayOf('timestamptz', requests, ({ now }) => now),
    ],
  });
  const answers = rows[0]?.[0];
  if (!answers) throw new Error('consume_batch answered nothing.');
  return decisionsOf(answers, requests);
}

function decisionsOf(answers: Answers, requests: readonly BatchedConsume[]): (Decision | undefined)[] {
  const [places, seqs, availables, totals, grantIds, sources, placesInFull, inFull] = answers;
  const decisions: (Decision | undefined)[] = requests.map(() => undefined);
  places?.forEach((place, index) => {
    const grantId = grantIds[index];
    const source = sources[index];
    if (!grantId || !source) return;
    const tokens = -valueAt(requests, place - 1).tokens;
    const entry = {
      seq: valueAt(seqs, index),
      tokens,
      overageTokens: 0,
      availableAfter: valueAt(availables, index),
      totalUsedAfter: valueAt(totals, index),
      parts: [{ grantId, source, tokens }],
    };
    decisions[place - 1] = { outcome: 'taken', entry };
  });
  placesInFull?.forEach((place, index) => {
    decisions[place - 1] = fullDecision(inFull[index]);
  });
  return decisions;
}

function valueAt<T>(column: Column<T>, index: number): T {
  const value = column[index];
  if (value === undefined) throw new Error(`consume_batch left out part of answer ${index}.`);
  return value;
}

function fullDecision(answer: unknown): Decision {
  const decision = answerSchema.parse(answer);
  if (decision.outcome === 'denied' || decision.outcome === 'reused') return decision;
  const { outcome, ...entry } = decision;
  return { outcome, entry };
}
