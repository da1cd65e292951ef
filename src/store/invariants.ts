import type { Pool } from './database.ts';
import { inTransaction } from './transaction.ts';

/** The views of the migration, one per invariant; docs/credits.md says what each holds. */
export const INVARIANT_VIEWS = [
  'invariant_i1_balance',
  'invariant_i1_chain',
  'invariant_i2_negative',
  'invariant_i3_grants',
  'invariant_i4_sources',
  'invariant_i5_clawed',
  'invariant_i6_keys',
  'invariant_i7_allowances',
  'invariant_i9_inbox',
  'invariant_i10_append_only',
] as const;

export interface Violation {
  invariant: string;
  userId: string | null;
  detail: string;
}

/** At most this many per invariant: the first tell the story. */
const LIMIT_PER_INVARIANT = 100;

/**
 * Lists what violates an invariant; an empty list is a sound ledger.
 * @param userId only this user's rows, else everybody's
 */
export function findViolations(pool: Pool, userId: string | null = null): Promise<Violation[]> {
  return inTransaction(pool, async (tx) => {
    // One snapshot for all views, so that a consume between two of them is no violation; and they may take long.
    await tx.query('set transaction isolation level repeatable read read only');
    await tx.query('set local statement_timeout = 0');
    const found: Violation[] = [];
    for (const view of INVARIANT_VIEWS) {
      const { rows } = await tx.query<Omit<Violation, 'invariant'>>(
        `select user_id as "userId", detail from ${view} where $1::text is null or user_id = $1 limit $2`,
        [userId, LIMIT_PER_INVARIANT],
      );
      found.push(...rows.map((row) => ({ invariant: view, ...row })));
    }
    return found;
  });
}
