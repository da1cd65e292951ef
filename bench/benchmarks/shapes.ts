// Consumes in other shapes: many in one request, users with many grants, requests that come at their own pace.
import { type Bed, type Database, TOKENS_PER_CONSUME } from '../bed.ts';
import type { Benchmark, Row } from '../benchmark.ts';
import { compare, cpuNote, median } from '../compare.ts';
import { judge } from '../oracle.ts';

const tokens = TOKENS_PER_CONSUME;
const ITEMS = 100;
/** Enough requests in flight to keep the service busy; more would only measure the queue. */
const BATCH_CONNECTIONS = 8;
const GRANTS = 50;
const READS_PER_SIDE = 2_000;
const RATE = 1_000;

async function batchEndpoint(bed: Bed): Promise<Row[]> {
  const database = await bed.database();
  const server = await bed.server('consume', database);
  const batches = { server, job: { items: ITEMS, connections: BATCH_CONNECTIONS } };
  const result = await compare(bed, batches, { server });
  const [a, b] = [result.a * ITEMS, result.b];
  const loads = [...result.loadsOfA, ...result.loadsOfB];
  const oracle = await judge(database.client, { loads, tokens });
  return [{ name: 'batch-endpoint', ratio: result.ratio * ITEMS, a, b, oracle, goal: 4, aim: 8 }];
}

async function manyGrants(bed: Bed): Promise<Row[]> {
  // Fewer users where each has fifty grants: the rows of both sides fit the same memory.
  const users = Math.max(1, Math.floor(bed.scale.users / 10));
  const many = await bed.database({ users, grantsPerUser: GRANTS });
  const one = await bed.database({ users });
  const result = await compare(
    bed,
    { server: await bed.server('consume', many), job: { users } },
    { server: await bed.server('consume', one), job: { users } },
  );
  const oracle = [
    ...(await judge(many.client, { loads: result.loadsOfA, tokens })),
    ...(await judge(one.client, { loads: result.loadsOfB, tokens })),
  ];
  const note = cpuNote(result);
  return [
    {
      name: 'consume-50-grants',
      ratio: result.ratio,
      a: result.a,
      b: result.b,
      note,
      oracle,
      goal: 0.85,
      aim: 1,
    },
    await balanceRead(many),
  ];
}

/** The balance that is on the user's row against the sum of its grants, read in the database itself: no round trips. */
async function balanceRead({ client }: Database): Promise<Row> {
  const read = async (statement: string): Promise<number> => {
    const start = performance.now();
    await client.query(
      `do $$ declare u record; begin
         for u in select bucket, id from users limit ${READS_PER_SIDE} loop perform ${statement}; end loop;
       end $$`,
    );
    return (READS_PER_SIDE * 1000) / (performance.now() - start);
  };
  const ofRow = 'available_tokens from users where bucket = u.bucket and id = u.id';
  const ofGrants =
    'sum(remaining_tokens) from grant_balances where bucket = u.bucket and user_id = u.id and closed_at is null';
  const rounds: { a: number; b: number }[] = [];
  for (let round = 0; round < 3; round++) rounds.push({ a: await read(ofRow), b: await read(ofGrants) });
  const ratio = median(rounds.map(({ a, b }) => a / b));
  const [a, b] = [median(rounds.map((round) => round.a)), median(rounds.map((round) => round.b))];
  return { name: 'balance-read', ratio, a, b, oracle: [], goal: 2, aim: 3 };
}

async function openLoop(bed: Bed): Promise<Row[]> {
  const database = await bed.database();
  const job = { rate: RATE, connections: 256 };
  const result = await compare(
    bed,
    { server: await bed.server('consume', database), job },
    { server: await bed.server('echo', database), job: { ...job, retryShare: 0 } },
    ({ p99Ms }) => p99Ms,
  );
  const { ratio, a, b, loadsOfA: loads } = result;
  const oracle = await judge(database.client, { loads, tokens });
  return [{ name: 'open-loop-p99', ratio, a, b, oracle, goal: 3, aim: 1.5, isCeiling: true, note: 'ms' }];
}

export const shapes: Benchmark[] = [
  {
    name: 'batch-endpoint',
    says: `items a second in requests of ${ITEMS} ÷ single consumes a second`,
    run: batchEndpoint,
  },
  {
    name: 'many-grants',
    says: `consumes of users with ${GRANTS} grants ÷ with one; the balance read`,
    run: manyGrants,
  },
  { name: 'open-loop', says: `p99 at ${RATE} requests a second ÷ p99 of the echo`, run: openLoop },
];
