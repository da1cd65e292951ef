import type { Pool } from '../../src/store/database.ts';

/** On every connection, so that a statement that waits for a lock cannot pass by giving up. */
export async function waitForLocksForEver(pool: Pool): Promise<void> {
  const all = await Promise.all(Array.from({ length: pool.options.max ?? 10 }, () => pool.connect()));
  for (const client of all) {
    await client.query('set lock_timeout = 0; set statement_timeout = 0');
    client.release();
  }
}
