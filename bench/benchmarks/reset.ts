// A reset that is due for many users at once, while consumes go on.
import { type Bed, type Database, type Server, TOKENS_PER_CONSUME } from '../bed.ts';
import type { Benchmark, Row } from '../benchmark.ts';
import { median } from '../compare.ts';
import type { LoadResult } from '../load.ts';
import { judge } from '../oracle.ts';
import type { ResetResult } from '../reset-run.ts';

/** Of the row-by-row way, which would take an hour for all of them. */
const ROW_BY_ROW_USERS = 2_000;
/** Consumes a second, of users who have their reset behind them: whoever comes before the job is rolled on the spot. */
const RATE = 250;
const CONSUMING_USERS = 1_000;
const READS_AT_ONCE = 10;
const A_MINUTE_AGO = (): Date => new Date(Date.now() - 60_000);
const PAGE = 20;

/** Consumes until the work is over. @returns what it came to, and the loads that it lasted through */
async function besideConsumes<T>(
  load: () => Promise<LoadResult>,
  work: Promise<T>,
): Promise<{ result: T; during: LoadResult[]; loads: LoadResult[] }> {
  let isOver = false;
  const over = work.finally(() => {
    isOver = true;
  });
  const loads: LoadResult[] = [];
  const during: LoadResult[] = [];
  while (!isOver) {
    const result = await load();
    loads.push(result);
    if (!isOver) during.push(result);
  }
  // One that was too short for a whole load.
  return { result: await over, during: during.length > 0 ? during : loads, loads };
}

interface Side {
  reset: ResetResult;
  during: LoadResult[];
  idle: LoadResult[];
  oracle: string[];
}

async function bulk(bed: Bed): Promise<Side> {
  const users = bed.scale.due;
  const database = await bed.database({ users, periodEnd: A_MINUTE_AGO() });
  const server = await bed.server('consume', database);
  const consuming = Math.min(users, CONSUMING_USERS);
  await lookAt(server, consuming);
  const load = () => bed.load(server, { users: consuming, rate: RATE, warmupSeconds: 0, retryShare: 0 });
  const warmUp = await load();
  const { result, during, loads } = await besideConsumes(load, bed.reset('bulk', database));
  const idle: LoadResult[] = [];
  for (let round = 0; round < bed.scale.rounds; round++) idle.push(await load());
  const all = [warmUp, ...loads, ...idle];
  const oracle = [
    ...(await judge(database.client, { loads: all, tokens: TOKENS_PER_CONSUME })),
    ...(await judgeAllowances(database)),
  ];
  return { reset: result, during, idle, oracle };
}

/** Whoever is looked at is rolled. */
async function lookAt({ port, apiKey }: Server, users: number): Promise<void> {
  const look = async (n: number): Promise<void> => {
    const headers = { authorization: `Bearer ${apiKey}` };
    const response = await fetch(`http://127.0.0.1:${port}/v1/users/user-${n}/usage`, { headers });
    if (!response.ok) throw new Error(`user-${n} was answered with ${response.status}.`);
    await response.arrayBuffer();
  };
  for (let from = 0; from < users; from += READS_AT_ONCE) {
    const page = Array.from({ length: Math.min(READS_AT_ONCE, users - from) }, (_, n) => look(from + n));
    await Promise.all(page);
  }
}

/** Alone on the machine: it does not bear that others change the same users. */
async function rowByRow(bed: Bed): Promise<ResetResult> {
  const users = Math.min(bed.scale.due, ROW_BY_ROW_USERS);
  return bed.reset('row-by-row', await bed.database({ users, periodEnd: A_MINUTE_AGO() }));
}

/** Everybody has the allowance of the new window, once, whoever was first to roll it. */
async function judgeAllowances({ client }: Database): Promise<string[]> {
  const { rows } = await client.query<{ id: string; count: string }>(
    `select u.id, count(g.id) as count from users u left join credit_grants g
       on g.bucket = u.bucket and g.user_id = u.id and g.key like 'allowance:free:%'
     group by u.bucket, u.id having count(g.id) <> 1 limit ${PAGE}`,
  );
  return rows.map(({ id, count }) => `${id} has got ${count} allowances`);
}

async function bulkReset(bed: Bed): Promise<Row[]> {
  const theirs = await rowByRow(bed);
  const { reset: ours, during, idle, oracle } = await bulk(bed);
  const perSecond = ({ rolled, seconds }: ResetResult): number => rolled / seconds;
  const cpu = ({ rolled, cpuMicroseconds }: ResetResult): number => Math.round(cpuMicroseconds / rolled);
  const p99 = (loads: readonly LoadResult[]): number => median(loads.map(({ p99Ms }) => p99Ms));
  const [a, b] = [perSecond(ours), perSecond(theirs)];
  const note = `${ours.rolled} users in ${Math.round(ours.seconds)} s; ${cpu(ours)} : ${cpu(theirs)} µs of the job's CPU each`;
  const [busy, quiet] = [p99(during), p99(idle)];
  return [
    { name: 'bulk-reset', ratio: a / b, a, b, note, oracle, goal: 20, aim: 80 },
    {
      name: 'bulk-reset-consume-p99',
      ratio: busy / quiet,
      a: busy,
      b: quiet,
      note: `ms, at ${RATE} consumes a second`,
      oracle: [],
      goal: 2,
      aim: 1.5,
      isCeiling: true,
    },
  ];
}

export const reset: Benchmark[] = [
  {
    name: 'bulk-reset',
    says: `reset of --due users beside ${RATE} consumes a second ÷ row by row with Prisma; p99 of those consumes ÷ idle`,
    run: bulkReset,
  },
];
