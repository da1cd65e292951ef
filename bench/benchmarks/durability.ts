// What one durable consume costs the database, in counters that know no noise; and what a slow disk makes of it.
import { type Bed, type Database, TOKENS_PER_CONSUME } from '../bed.ts';
import type { Benchmark, Row } from '../benchmark.ts';
import { compare } from '../compare.ts';
import { judge } from '../oracle.ts';

interface Counters {
  fsyncs: number;
  walBytes: number;
}

/** A session publishes its counters at the end of a transaction, but not within a second of the last time. */
const PUBLISHES_AFTER_MS = 1_100;

/** @param nudge has the service do something, so that it publishes */
async function countersOf(database: Database, nudge: () => Promise<unknown>): Promise<Counters> {
  await new Promise((resolve) => setTimeout(resolve, PUBLISHES_AFTER_MS));
  await nudge();
  const { rows } = await database.client.query<{ fsyncs: string }>(
    `select sum(fsyncs) as fsyncs from pg_stat_io where object = 'wal' and backend_type = 'client backend'`,
  );
  return { fsyncs: Number(rows[0]?.fsyncs), walBytes: await walPosition(database) };
}

/** In bytes, from the server's first. */
export async function walPosition({ client }: Database): Promise<number> {
  const { rows } = await client.query<{ bytes: string }>(
    "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') as bytes",
  );
  return Number(rows[0]?.bytes);
}

/** A ledger small enough that every page of it has been written since the last checkpoint. */
const SMALL_USERS = 1_000;

async function perConsume(bed: Bed): Promise<Row[]> {
  const database = await bed.database({ users: SMALL_USERS });
  const server = await bed.server('consume', database);
  // It comes when it comes, and its work is not that of these consumes.
  for (const table of ['users', 'ledger_entries']) {
    await database.client.query(`alter table ${table} set (autovacuum_enabled = off)`);
  }
  const job = { users: SMALL_USERS, retryShare: 0 };
  const loads = [await bed.load(server, job)];
  const nudge = async () => loads.push(await bed.load(server, { ...job, connections: 1, seconds: 0.01 }));
  const before = await countersOf(database, nudge);
  const load = await bed.load(server, job);
  const after = await countersOf(database, nudge);
  const oracle = await judge(database.client, { loads: [...loads, load], tokens: TOKENS_PER_CONSUME });
  const per = (name: keyof Counters): number => (after[name] - before[name]) / load.answers;
  const [fsyncs, walBytes] = [per('fsyncs'), per('walBytes')];
  const row = { b: null, oracle, isCeiling: true } as const;
  return [
    { ...row, name: 'fsyncs-per-consume', ratio: fsyncs, a: fsyncs, goal: 0.06, aim: 0.02, gate: 0.1 },
    { ...row, name: 'wal-bytes-per-consume', ratio: walBytes, a: walBytes, goal: 750, aim: 450, gate: 750 },
  ];
}

/** As on a disk that takes 2 ms for a flush. */
async function slowDisk(bed: Bed): Promise<Row[]> {
  const slow = await bed.database();
  const fast = await bed.database();
  const name = (await slow.client.query<{ name: string }>('select current_database() as name')).rows[0]?.name;
  await slow.client.query(`alter database ${name} set commit_delay = 2000`);
  await slow.client.query(`alter database ${name} set commit_siblings = 0`);
  const result = await compare(
    bed,
    { server: await bed.server('consume', slow) },
    { server: await bed.server('consume', fast) },
  );
  const tokens = TOKENS_PER_CONSUME;
  const oracle = [
    ...(await judge(slow.client, { loads: result.loadsOfA, tokens })),
    ...(await judge(fast.client, { loads: result.loadsOfB, tokens })),
  ];
  return [{ name: 'slow-disk', ratio: result.ratio, a: result.a, b: result.b, oracle, goal: 0.7, aim: 0.9 }];
}

export const durability: Benchmark[] = [
  {
    name: 'per-consume',
    says: 'fsyncs, and WAL bytes, of one consume on a small ledger',
    run: perConsume,
  },
  { name: 'slow-disk', says: 'consumes with commits that take 2 ms more ÷ without', run: slowDisk },
];
