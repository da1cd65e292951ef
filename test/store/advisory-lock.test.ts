import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { withAdvisoryLock } from '../../src/store/advisory-lock.ts';
import { type Library, openLibrary } from '../support/library.ts';

let library: Library;
beforeAll(async () => {
  library = await openLibrary();
});
afterAll(() => library.close());

it('a session that ends while the work goes on fails the work, not the process, and the lock is free', async () => {
  const { pool } = library.context;
  const lock = `from pg_locks where locktype = 'advisory' and granted
    and database = (select oid from pg_database where datname = current_database())`;
  const interrupted = withAdvisoryLock(pool, 'interrupted', async () => {
    await pool.query(`select pg_terminate_backend(pid) ${lock}`);
    await vi.waitFor(async () => expect((await pool.query(`select pid ${lock}`)).rows).toEqual([]));
  });
  await expect(interrupted).rejects.toThrow();
  expect(await withAdvisoryLock(pool, 'interrupted', async () => 'had')).toBe('had');
  expect(pool.idleCount).toBe(pool.totalCount);
});
