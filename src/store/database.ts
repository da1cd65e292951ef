/** Connections. node-postgres for what locks and counts, Prisma for lists and plain reads, over the same pool. */
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { PrismaClient } from '../generated/prisma/client.ts';

export type Pool = pg.Pool;
export type Transaction = pg.PoolClient;
/** What can run one statement. */
export type Queryable = Pick<pg.PoolClient, 'query'>;
export type Prisma = PrismaClient;

export interface Database {
  pool: Pool;
  db: Prisma;
  close(): Promise<void>;
}

/** int8 as a number that is exact, or an error: a silently rounded balance is worse than none. */
function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new Error(`The database holds ${text}, which is beyond 2^53.`);
  return value;
}

const INT8 = 20;
const NUMERIC = 1700;
const TIMESTAMPTZ = 1184;

const [SPACE, PLUS] = [32, 43];

/** The number that two digits make. */
const digits = (text: string, at: number): number =>
  text.charCodeAt(at) * 10 + text.charCodeAt(at + 1) - 11 * '0'.charCodeAt(0);

/** Of `2026-01-31 10:00:00.123+00`, as nearly all are: a tenth of what the parser of every form takes. */
function time(text: string): Date {
  const { length } = text;
  const year = digits(text, 0) * 100 + digits(text, 2);
  const isPlain = text.charCodeAt(10) === SPACE && text.charCodeAt(length - 3) === PLUS && length <= 26;
  // Date.UTC takes the years of the first century for others.
  if (!isPlain || year < 100) return anyTime(text);
  const ms = length > 23 ? Number(text.slice(20, -3).padEnd(3, '0')) : 0;
  const [month, day] = [digits(text, 5) - 1, digits(text, 8)];
  return new Date(Date.UTC(year, month, day, digits(text, 11), digits(text, 14), digits(text, 17), ms));
}
const anyTime: (text: string) => Date = pg.types.getTypeParser(TIMESTAMPTZ);

const PARSERS: Readonly<Record<number, (text: string) => unknown>> = {
  [INT8]: safeInteger,
  [NUMERIC]: safeInteger,
  [TIMESTAMPTZ]: time,
};
const types: pg.CustomTypesConfig = {
  getTypeParser: (oid, format) => PARSERS[oid] ?? pg.types.getTypeParser(oid, format),
};

/**
 * @param onError called for a broken idle connection; without a listener node-postgres would end the process when
 *   the database restarts
 */
export function openDatabase(
  url: string,
  onError: (error: Error) => void,
  { maxConnections = 10 }: { maxConnections?: number } = {},
): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: maxConnections,
    // What is asked before the last answer came goes out at once (account-save.ts).
    pipeline: true,
    types,
    connectionTimeoutMillis: 5_000,
    // No statement of ours takes long; one that does must not hold a user's row for ever.
    options:
      '-c statement_timeout=10000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=15000 -c synchronous_commit=on -c timezone=UTC',
  });
  pool.on('error', onError);
  const db = new PrismaClient({ adapter: new PrismaPg(pool) });
  return {
    pool,
    db,
    async close() {
      await db.$disconnect();
      await pool.end();
    },
  };
}

/** Whether a statement gets an answer: what failed before is then no fault of the connection. */
export async function isReachable(pool: Pool): Promise<boolean> {
  try {
    await pool.query('select 1');
    return true;
  } catch {
    return false;
  }
}
