// What one durable consume costs the database, in counters that know no noise; and what a slow disk makes of it.
import { type Bed, type Database, TOKENS_PER_CONSUME } from '../bed.ts';
import type { Benchmark, Row } from '../benchmark.ts';
import { compare } from '../compare.ts';
import { judge } from '../oracle.ts';

interface Counters {
  fsyncs: number;
  walBytes: number;
  walRecords: number;
  fullPageImages: number;
}

/** Sessions publish their counters when they are idle, at the latest after a second (pgstat, PGSTAT_MIN_INTERVAL). */
const PUBLISHED_MS = 1_500;

export async function countersOf({ client }: Database): Promise<Counters> {
  await new Promise((resolve) => setTimeout(resolve, PUBLISHED_MS));
  const { rows } = await client.query<Record<string, string>>(
    `select (select sum(fsyncs) from pg_stat_io where object = 'wal') as fsyncs,
            pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') as bytes, wal_records, wal_fpi from pg_stat_wal`,
  );
  return {
    fsyncs: Number(rows[0]?.fsyncs),
    walBytes: Number(rows[0]?.bytes),
    walRecords: Number(rows[0]?.wal_records),
    fullPageImages: Number(rows[0]?.wal_fpi),
  };
}

/** A ledger small enough that every page of it has been written since the last checkpoint. */
const SMALL_USERS = 1_000;

async function perConsume(bed: Bed): Promise<Row[]> {
  const database = await bed.database({ users: SMALL_USERS });
  const server = await bed.server('consume', database);
  const job = { users: SMALL_USERS, retryShare: 0 };
  const warmUp = await bed.load(server, job);
  const before = await countersOf(database);
  const load = await bed.load(server, job);
  const after = await countersOf(database);
  const oracle = await judge(database.client, { loads: [warmUp, load], tokens: TOKENS_PER_CONSUME });
  const per = (name: keyof Counters): number => (after[name] - before[name]) / load.answers;
  const [fsyncs, walBytes] = [per('fsyncs'), per('walBytes')];
  const note = `${per('walRecords').toFixed(1)} records, ${per('fullPageImages').toFixed(3)} full-page images`;
  const row = { b: null, oracle, isCeiling: true, isGate: true } as const;
  return [
    { ...row, name: 'fsyncs-per-consume', ratio: fsyncs, a: fsyncs, goal: 0.06, aim: 0.02 },
    { ...row, name: 'wal-bytes-per-consume', note, ratio: walBytes, a: walBytes, goal: 750, aim: 450 },
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
