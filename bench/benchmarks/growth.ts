// What does not change with size: the speed on a large ledger, and the memory of a process that has done much.
import { type Bed, TOKENS_PER_CONSUME } from '../bed.ts';
import type { Benchmark, Row } from '../benchmark.ts';
import { compare } from '../compare.ts';
import type { LoadResult } from '../load.ts';
import { judge } from '../oracle.ts';
import { walPosition } from './durability.ts';

const tokens = TOKENS_PER_CONSUME;
const FEW_ENTRIES = 10_000;
const FEW_CONSUMES = 10_000;
const ITEMS = 20;

async function largeLedger(bed: Bed): Promise<Row[]> {
  const { users, entries } = bed.scale;
  const large = await bed.database({ earlierConsumes: Math.ceil(entries / users) });
  const small = await bed.database({ earlierConsumes: Math.ceil(FEW_ENTRIES / users) });
  const sides = [
    { server: await bed.server('consume', large) },
    { server: await bed.server('consume', small) },
  ] as const;
  const { ratio, a, b, loadsOfA, loadsOfB } = await compare(bed, ...sides);
  const bytes: number[] = [];
  for (const { server } of sides) {
    // The dearest moment: each page that is touched for the first time since is logged whole.
    await large.client.query('checkpoint');
    const start = await walPosition(large);
    const load = await bed.load(server, { retryShare: 0 });
    (server === sides[0].server ? loadsOfA : loadsOfB).push(load);
    bytes.push(((await walPosition(large)) - start) / load.answers);
  }
  const [ofLarge = Number.NaN, ofSmall = Number.NaN] = bytes;
  const oracle = [
    ...(await judge(large.client, { loads: loadsOfA, tokens })),
    ...(await judge(small.client, { loads: loadsOfB, tokens })),
  ];
  return [
    { name: 'large-ledger', ratio, a, b, oracle, goal: 0.8, aim: 0.95 },
    {
      name: 'large-ledger-wal-bytes',
      ratio: ofLarge / ofSmall,
      a: ofLarge,
      b: ofSmall,
      oracle: [],
      goal: 2.5,
      aim: 1.3,
      isCeiling: true,
    },
  ];
}

async function memory(bed: Bed): Promise<Row[]> {
  const database = await bed.database();
  const server = await bed.server('consume', database);
  const loads: LoadResult[] = [];
  const until = async (consumes: number, items: number): Promise<number> => {
    let done = 0;
    while (done < consumes) {
      const load = await bed.load(server, { items, retryShare: 0 });
      loads.push(load);
      done += load.answers * items;
    }
    return server.ask('residentBytes');
  };
  const early = await until(FEW_CONSUMES, 1);
  // In requests of many, so that it ends within minutes; a few of one each, so that both routes are held to it.
  await until(bed.scale.consumes, ITEMS);
  const late = await until(FEW_CONSUMES, 1);
  const oracle = await judge(database.client, { loads, tokens });
  const megabytes = (bytes: number): number => bytes / 2 ** 20;
  const [a, b] = [megabytes(late), megabytes(early)];
  return [{ name: 'memory', ratio: a / b, a, b, note: 'MB', oracle, goal: 1.3, aim: 1.1, isCeiling: true }];
}

export const growth: Benchmark[] = [
  {
    name: 'large-ledger',
    says: `consumes, and WAL bytes after a checkpoint, with --entries of twelve months in the ledger, a week of them since its last rotation ÷ with ${FEW_ENTRIES}, which none has divided`,
    run: largeLedger,
  },
  {
    name: 'memory',
    says: `resident memory of the API after --consumes ÷ after ${FEW_CONSUMES}`,
    run: memory,
  },
];
