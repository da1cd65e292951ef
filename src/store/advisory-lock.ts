import type { Pool } from './database.ts';

/** One process at a time runs `work` under `name`; the others wait (up to lock_timeout). */
export async function withAdvisoryLock<T>(pool: Pool, name: string, work: () => Promise<T>): Promise<T> {
  const session = await pool.connect();
  let broken: Error | undefined;
  const noteBreak = (error: Error): void => {
    broken = error;
  };
  // Nothing may be under way on it while `work` runs; without a listener Node would end the process.
  session.on('error', noteBreak);
  try {
    await session.query(`select pg_advisory_lock(hashtextextended($1, 0))`, [name]);
    try {
      return await work();
    } finally {
      await session.query(`select pg_advisory_unlock(hashtextextended($1, 0))`, [name]);
    }
  } catch (error) {
    // A session that may still hold the lock is not given back to the pool.
    broken = error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    session.off('error', noteBreak);
    session.release(broken);
  }
}
