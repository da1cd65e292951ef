// What shares a commit beside consumes, against a transaction for each.
import { type Bed, type Database, TOKENS_PER_CONSUME } from '../bed.ts';
import type { Benchmark, Row } from '../benchmark.ts';
import { median } from '../compare.ts';
import type { HoldsResult } from '../holds-run.ts';
import { judge } from '../oracle.ts';

const PAGE = 20;

/** Each hold was captured. */
async function judgeHolds({ client }: Database): Promise<string[]> {
  const { rows } = await client.query<{ id: string; held: string }>(
    `select id, held_tokens as held from users where held_tokens <> 0 limit ${PAGE}`,
  );
  return rows.map(({ id, held }) => `${id} still has ${held} tokens held`);
}

async function holds(bed: Bed): Promise<Row[]> {
  const database = await bed.database();
  const ours: HoldsResult[] = [];
  const theirs: HoldsResult[] = [];
  for (let round = 0; round < bed.scale.rounds; round++) {
    ours.push(await bed.holds('door', database));
    theirs.push(await bed.holds('one-by-one', database));
  }
  const perSecond = ({ requests, seconds }: HoldsResult): number => requests / seconds;
  const cpu = (results: readonly HoldsResult[]): number =>
    Math.round(median(results.map(({ cpuMicroseconds, requests }) => cpuMicroseconds / requests)));
  const loads = [...ours, ...theirs].map(({ taken }) => ({ taken, faults: [], refused: {} }));
  const oracle = [
    ...(await judge(database.client, { loads, tokens: TOKENS_PER_CONSUME })),
    ...(await judgeHolds(database)),
  ];
  return [
    {
      name: 'holds',
      ratio: median(ours.map((one, round) => perSecond(one) / perSecond(theirs[round] ?? one))),
      a: median(ours.map(perSecond)),
      b: median(theirs.map(perSecond)),
      note: `${cpu(ours)} : ${cpu(theirs)} µs of the process's CPU each`,
      oracle,
      goal: 2.5,
      aim: 4,
    },
  ];
}

export const holdsTogether: Benchmark[] = [
  {
    name: 'holds',
    says: 'holds and captures by --connections callers through the door ÷ each in a transaction of its own',
    run: holds,
  },
];
