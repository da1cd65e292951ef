// The service's own log, in real processes: however one ends, what it has logged is written.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** More than goes out in one write, and a rest. */
const MANY = 300;
/** Not enough for a write. */
const FEW = 10;

interface End {
  code: number | null;
  signal: string | null;
  /** Numbers of the lines, in order: a write under way and the last one may change places. */
  logged: number[];
}

function processThatLogs(lines: number, end: string): Promise<End> {
  const script = `
    import { createLog } from './src/context.ts';
    const log = createLog({ logLevel: 'info' });
    for (let n = 0; n < ${lines}; n++) log.info({ n }, 'Signs of several bytes, 0 €: ' + '✓'.repeat(20));
    ${end}`;
  const command = ['--import', 'tsx', '--input-type=module', '--eval', script];
  return new Promise((resolve) => {
    const child = execFile(process.execPath, command, { cwd: ROOT }, (_error, output) => {
      const entries = output
        .trimEnd()
        .split('\n')
        .map((line): { n: number } => JSON.parse(line));
      const logged = entries.map(({ n }) => n).sort((one, other) => one - other);
      resolve({ code: child.exitCode, signal: child.signalCode, logged });
    });
  });
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

describe('every line logged before the end of a process is written where it', () => {
  it.each([
    ['has nothing more to do', '', 0],
    ['calls process.exit()', 'process.exit(3);', 3],
    ['throws what nobody catches', "throw new Error('nobody catches this');", 1],
    ['rejects what nobody catches', "void Promise.reject(new Error('nor this'));", 1],
  ])('%s', async (_name, end, code) => {
    expect(await processThatLogs(MANY, end)).toEqual({ code, signal: null, logged: numbers(MANY) });
  });

  it.each([
    ['has flushed the log', 'log.flush(die);', FEW],
    ['has logged a fatal line', `log.fatal({ n: ${FEW} }, 'the end'); die();`, FEW + 1],
  ])('is killed once it %s', async (_name, end, count) => {
    const die = "const die = () => process.kill(process.pid, 'SIGKILL');";
    expect(await processThatLogs(FEW, `${die} ${end}`)).toEqual({
      code: null,
      signal: 'SIGKILL',
      logged: numbers(count),
    });
  });
});
