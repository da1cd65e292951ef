// `npm run bench -- [--json] [--only NAME] …`: each benchmark is a ratio of two sides in one run, and an oracle that
// judges the ledger afterwards. Exit 1 if the oracle finds anything, or a figure with little noise is beyond its gate.
import { Command, InvalidArgumentError } from 'commander';
import { Bed, type Scale } from './bed.ts';
import type { Row } from './benchmark.ts';
import { durability } from './benchmarks/durability.ts';
import { growth } from './benchmarks/growth.ts';
import { holdsTogether } from './benchmarks/holds.ts';
import { reconcile } from './benchmarks/reconcile.ts';
import { reset } from './benchmarks/reset.ts';
import { shapes } from './benchmarks/shapes.ts';
import { throughput } from './benchmarks/throughput.ts';

const benchmarks = [
  ...throughput,
  ...holdsTogether,
  ...durability,
  ...shapes,
  ...reset,
  ...growth,
  ...reconcile,
];

function count(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('must be a number above 0');
  return value;
}

const command = new Command('npm run bench --')
  .option('--json', 'print [{name, ratio, a, b, oracle}] to stdout and nothing else')
  .option('--only <names...>', 'run these benchmarks alone')
  .option('--list', 'name the benchmarks')
  .option('--users <n>', 'how many users', count, 100_000)
  .option('--connections <n>', 'keep-alive connections', count, 64)
  .option('--seconds <n>', 'measured time of each side in each round', count, 5)
  .option('--entries <n>', 'in the large ledger', count, 10_000_000)
  .option('--due <n>', 'users in the bulk reset', count, 1_000_000)
  .option('--consumes <n>', 'before the memory is measured again', count, 1_000_000)
  .option('--profile <folder>', 'write CPU profiles of the servers there')
  .option('--rounds <n>', 'rounds, interleaved A B A B', count, 3);

interface Options extends Scale {
  json?: true;
  only?: string[];
  list?: true;
}

const say = (text: string): void => void process.stderr.write(text);

const figure = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);

function isMet({ ratio, isCeiling }: Row, goal: number): boolean {
  return isCeiling ? ratio <= goal : ratio >= goal;
}

function lineOf(row: Row): string {
  const sides = row.b === null ? '' : `  ${figure(row.a)} : ${figure(row.b)}`;
  const verdict = isMet(row, row.aim) ? 'aim met' : isMet(row, row.goal) ? 'goal met' : 'GOAL MISSED';
  const goal = `${row.isCeiling ? '≤' : '≥'} ${row.goal}, aim ${row.aim}`;
  const ledger = row.oracle.length === 0 ? 'ledger sound' : `LEDGER WRONG\n    ${row.oracle.join('\n    ')}`;
  const note = row.note === undefined ? '' : `  ${row.note}`;
  return `${row.name.padEnd(28)} ${figure(row.ratio).padStart(8)}  (${goal}: ${verdict})${sides}${note}  ${ledger}\n`;
}

async function main(options: Options): Promise<number> {
  const unknown = options.only?.filter((name) => !benchmarks.some((known) => known.name === name)) ?? [];
  if (options.list || unknown.length > 0) {
    if (unknown.length > 0) say(`There is no benchmark ${unknown.join(', ')}. There are:\n`);
    for (const { name, says } of benchmarks) say(`  ${name.padEnd(28)} ${says}\n`);
    return unknown.length > 0 ? 1 : 0;
  }
  const rows: Row[] = [];
  const bed = await Bed.open(options);
  try {
    for (const benchmark of benchmarks.filter(({ name }) => options.only?.includes(name) ?? true)) {
      say(`${benchmark.says} …\n`);
      for (const row of await benchmark.run(bed)) {
        rows.push(row);
        say(lineOf(row));
      }
      await bed.clear();
    }
  } finally {
    await bed.close();
  }
  if (options.json) {
    const shown = rows.map(({ name, ratio, a, b, oracle }) => ({ name, ratio, a, b, oracle }));
    process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
  }
  const isWrong = rows.some(
    (row) => row.oracle.length > 0 || (row.gate !== undefined && !isMet(row, row.gate)),
  );
  return isWrong ? 1 : 0;
}

process.exitCode = await main(command.parse().opts<Options>());
