import type { Pool } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { FlushTime } from '../../src/store/flush-time.ts';
import { Pipeline } from '../../src/store/pipeline.ts';
import { type Library, openLibrary } from '../support/library.ts';

let library: Library;
let pool: Pool;
beforeAll(async () => {
  library = await openLibrary();
  pool = library.context.pool;
});
afterAll(() => library.close());

const arrays = (text: string) => ({ text, rowMode: 'array' as const });

describe('a pipeline', () => {
  let pipeline: Pipeline;
  beforeEach(() => {
    pipeline = new Pipeline(pool);
  });
  const ask = (text: string) => pipeline.query<unknown[]>(arrays(text));

  it('runs its statements in their order on one connection, which the pool has back afterwards', async () => {
    const asked = Array.from({ length: 20 }, (_, n) => ask(`select pg_backend_pid(), ${n}`));
    const answers = (await Promise.all(asked)).map(({ rows }) => rows[0] ?? []);
    expect(new Set(answers.map(([pid]) => pid)).size).toBe(1);
    expect(answers.map(([, n]) => n)).toEqual(asked.map((_, n) => n));
    expect(pool.idleCount).toBe(pool.totalCount);
  });

  it('fails the statement that failed and no other', async () => {
    const outcomes = await Promise.allSettled([ask('select 1'), ask('select 1 / 0'), ask('select 3')]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect((await ask('select 4')).rows).toEqual([[4]]);
    expect(pool.idleCount).toBe(pool.totalCount);
  });

  it('fails all that is under way where the connection breaks, and goes on with another', async () => {
    const before = await ask('select pg_backend_pid()');
    const cut = 'select pg_terminate_backend(pg_backend_pid()), pg_sleep(1)';
    const outcomes = await Promise.allSettled([ask(cut), ask('select 2')]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    const after = await ask('select pg_backend_pid()');
    expect(after.rows).not.toEqual(before.rows);
    expect(pool.idleCount).toBe(pool.totalCount);
  });

  it('does not give the pool a connection back that the server has ended', async () => {
    await expect(ask('select pg_terminate_backend(pg_backend_pid()), pg_sleep(1)')).rejects.toThrow();
    expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  it('sends a statement before the one before it is answered', async () => {
    const sent: unknown[] = [];
    const query = (statement: { text: string }) => {
      sent.push(statement.text);
      return new Promise(() => {});
    };
    const connection = { query, on() {}, off() {}, release() {} };
    const silent = new Pipeline({ connect: async () => connection } as never);
    void silent.query(arrays('one'));
    void silent.query(arrays('two'));
    await vi.waitFor(() => expect(sent).toEqual(['one', 'two']));
    // The connection sends what it is given without waiting as well.
    expect((pool as unknown as { options: { pipeline: boolean } }).options.pipeline).toBe(true);
  });

  it('fails all where there is no connection to be had, and asks for one again', async () => {
    const connect = vi.spyOn(pool, 'connect').mockRejectedValueOnce(new Error('refused') as never);
    const outcomes = await Promise.allSettled([ask('select 1'), ask('select 2')]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect((await ask('select 3')).rows).toEqual([[3]]);
    expect(connect).toHaveBeenCalledTimes(2);
    connect.mockRestore();
  });
});

it('the time of a flush is known once it was read, and unknown again where the database is away', async () => {
  const flush = new FlushTime(pool);
  expect(flush.ms).toBeUndefined();
  await vi.waitFor(() => expect(flush.ms).toBeGreaterThan(0));
  expect(flush.ms).toBeLessThan(60_000);
  const connect = vi.spyOn(pool, 'connect').mockRejectedValue(new Error('refused') as never);
  const later = performance.now() + 61_000;
  const clock = vi.spyOn(performance, 'now').mockReturnValue(later);
  expect(flush.ms).toBeGreaterThan(0);
  await vi.waitFor(() => expect(flush.ms).toBeUndefined());
  clock.mockRestore();
  connect.mockRestore();
});
