/** How long the database takes to make a commit durable. */
import type { Pool } from './database.ts';
import { Pipeline } from './pipeline.ts';

/** Some of them wait for a core as well. */
const SAMPLES = 10;
const KEPT_MS = 60_000;

/** What it was when it was read last; read again where that is more than a minute ago. */
export class FlushTime {
  readonly #pipeline: Pipeline;
  #ms: number | undefined;
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(pool: Pool) {
    this.#pipeline = new Pipeline(pool);
  }

  /** Undefined while it is not known. */
  get ms(): number | undefined {
    const nowMs = performance.now();
    if (nowMs - this.#readAtMs > KEPT_MS) {
      this.#readAtMs = nowMs;
      void this.#read();
    }
    return this.#ms;
  }

  async #read(): Promise<void> {
    try {
      this.#ms = await readFlushMs(this.#pipeline);
    } catch {
      // Where the database is away, whoever waits for an answer of it hears so. Where it does not tell (the second statement
      // is of another session behind some poolers), batches go on as they do while nothing is known.
      this.#ms = undefined;
    }
  }
}

/**
 * The shortest of a few, as PostgreSQL measures it: asked from here, a busy event loop would count as well.
 * @returns in milliseconds
 */
async function readFlushMs(pipeline: Pipeline): Promise<number | undefined> {
  // Commits that write nothing are not flushed: a message for nobody is the least that can be written. Two statements, as
  // COMMIT is possible only in one that is alone.
  const measured = pipeline.query({
    rowMode: 'array',
    text: `
      do $$
      declare
        began timestamptz;
        shortest interval;
      begin
        for i in 1..${SAMPLES} loop
          perform pg_logical_emit_message(true, 'tollgate', '');
          began := clock_timestamp();
          commit;
          shortest := least(shortest, clock_timestamp() - began);
        end loop;
        perform set_config('tollgate.flush_ms', (extract(epoch from shortest) * 1000)::text, false);
      end $$`,
  });
  const read = pipeline.query<[ms: number]>({
    rowMode: 'array',
    text: `select current_setting('tollgate.flush_ms')::float8`,
  });
  const [, { rows }] = await Promise.all([measured, read]);
  return rows[0]?.[0];
}
