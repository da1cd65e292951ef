import { DatabaseError } from 'pg';
import type { Pool, Transaction } from './database.ts';

/** Rolled back for certain, so running the unit again is safe whatever it does. */
const RETRYABLE = new Set(['40001', '40P01']);
const ATTEMPTS = 3;

/**
 * Runs `work` in one transaction and retries what PostgreSQL has rolled back (serialization failure, deadlock). A
 * connection lost at COMMIT is not retried here: its outcome is unknown, and the caller's key finds it.
 */
export function inTransaction<T>(pool: Pool, work: (tx: Transaction) => Promise<T>): Promise<T> {
  return runRetried(pool, BEGIN, work);
}

/**
 * Reads many rows, all as they were at one instant, and writes none. How is left to the planner: without hash joins, as in
 * a unit of work, it compares everybody with everybody (the check of 30,000 users took 118 s in place of 1.7).
 * @param options.statementTimeoutMs none where it is left out: a large ledger takes longer than any ordinary statement
 */
export function inReport<T>(
  pool: Pool,
  work: (tx: Transaction) => Promise<T>,
  { statementTimeoutMs = 0 } = {},
): Promise<T> {
  const settings = 'isolation level repeatable read, read only';
  const begin = `begin; set transaction ${settings}; set local statement_timeout = ${statementTimeoutMs}`;
  return runRetried(pool, begin, work);
}

async function runRetried<T>(pool: Pool, begin: string, work: (tx: Transaction) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await runOnce(pool, begin, work);
    } catch (error) {
      const isRetryable = error instanceof DatabaseError && RETRYABLE.has(error.code ?? '');
      if (!isRetryable || attempt === ATTEMPTS) throw error;
    }
  }
}

/**
 * A unit of work reads few rows, by index. A plan that was made and kept while a table was empty would read all of it,
 * until its statistics are taken anew.
 */
const BEGIN = `begin; set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off`;

async function runOnce<T>(pool: Pool, begin: string, work: (tx: Transaction) => Promise<T>): Promise<T> {
  const tx = await pool.connect();
  let broken: Error | undefined;
  const noteBreak = (error: Error): void => {
    broken = error;
  };
  // The statement under way fails as well, so it is enough to note it; without a listener Node would end the process.
  tx.on('error', noteBreak);
  try {
    await tx.query(begin);
    const result = await work(tx);
    await tx.query('commit');
    return result;
  } catch (error) {
    await tx.query('rollback').catch(noteBreak);
    throw error;
  } finally {
    tx.off('error', noteBreak);
    tx.release(broken);
  }
}
