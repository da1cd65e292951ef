// A durable consume against servers that decide nothing, and against the ways in which it is commonly built.
import { type Bed, TOKENS_PER_CONSUME } from '../bed.ts';
import type { Benchmark, Row } from '../benchmark.ts';
import { compare, cpuNote } from '../compare.ts';
import type { LoadJob } from '../load.ts';
import { NAIVE_TABLES } from '../naive.ts';
import { judge } from '../oracle.ts';
import { startRedis } from '../redis.ts';
import type { ServerKind } from '../server.ts';

interface Against {
  name: string;
  says: string;
  kind: ServerKind;
  goal: number;
  aim: number;
  tables?: string;
  job?: Partial<LoadJob>;
}

async function against(bed: Bed, { name, kind, goal, aim, tables, job = {} }: Against): Promise<Row[]> {
  const database = await bed.database();
  if (tables !== undefined) await database.client.query(tables);
  const ours = await bed.server('consume', database);
  const other = await bed.server(kind, database);
  // The others answer the same body to everything: a repeated key proves nothing there.
  const result = await compare(bed, { server: ours, job }, { server: other, job: { ...job, retryShare: 0 } });
  const { ratio, a, b, loadsOfA: loads } = result;
  const oracle = await judge(database.client, { loads, tokens: TOKENS_PER_CONSUME });
  return [{ name, ratio, a, b, note: cpuNote(result), oracle, goal, aim }];
}

const comparisons: Against[] = [
  {
    name: 'consume-vs-express-echo',
    says: 'durable consume ÷ echo in an ordinary Express application with the same middlewares',
    kind: 'express-echo',
    goal: 1.5,
    aim: 2.5,
  },
  {
    name: 'consume-vs-own-echo',
    says: 'durable consume ÷ echo in our own server',
    kind: 'echo',
    goal: 0.9,
    aim: 1.2,
  },
  {
    name: 'consume-vs-node-echo',
    says: 'durable consume ÷ bare node:http echo of the same bodies',
    kind: 'node-echo',
    goal: 0.4,
    aim: 0.6,
  },
  {
    name: 'consume-vs-naive',
    says: 'durable consume ÷ read, check, update, insert in a Prisma $transaction, in the same server',
    kind: 'naive',
    goal: 10,
    aim: 20,
    tables: NAIVE_TABLES,
  },
];

async function againstRedis(bed: Bed): Promise<Row[]> {
  const redis = await startRedis();
  if (!redis) {
    process.stderr.write('  not run: there is no redis-server on this machine\n');
    return [];
  }
  try {
    const database = await bed.database();
    const ours = await bed.server('consume', database);
    const other = await bed.server('redis', database, redis.url);
    const result = await compare(bed, { server: ours }, { server: other, job: { retryShare: 0 } });
    const { ratio, a, b, loadsOfA: loads } = result;
    const oracle = await judge(database.client, { loads, tokens: TOKENS_PER_CONSUME });
    return [{ name: 'consume-vs-redis', ratio, a, b, note: cpuNote(result), oracle, goal: 0.7, aim: 1 }];
  } finally {
    await redis.stop();
  }
}

async function hotUser(bed: Bed): Promise<Row[]> {
  const database = await bed.database();
  const server = await bed.server('consume', database);
  const result = await compare(bed, { server, job: { users: 1 } }, { server });
  const { ratio, a, b, loadsOfA, loadsOfB } = result;
  const oracle = await judge(database.client, {
    loads: [...loadsOfA, ...loadsOfB],
    tokens: TOKENS_PER_CONSUME,
  });
  return [{ name: 'hot-user', ratio, a, b, note: cpuNote(result), oracle, goal: 0.9, aim: 1.2 }];
}

export const throughput: Benchmark[] = [
  ...comparisons.map((one) => ({ name: one.name, says: one.says, run: (bed: Bed) => against(bed, one) })),
  {
    name: 'consume-vs-redis',
    says: 'durable consume ÷ a Lua counter in Redis with appendfsync always, in the same server',
    run: againstRedis,
  },
  { name: 'hot-user', says: 'consumes of one user ÷ consumes of all users', run: hotUser },
];
