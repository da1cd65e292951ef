// docs/guarantees.md names the test that holds each promise: every one of them is there under that name.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const document = readFileSync(join(ROOT, 'docs/guarantees.md'), 'utf8');

const rows = [...document.matchAll(/^\| (?!guarantee|---)(.+?) \| (.+) \| (.+) \|$/gm)];
const named = rows.flatMap(([, guarantee = '', tests = '']) =>
  tests.split('<br>').map((cell) => {
    const [, file = '', name = ''] = /^`(.+?)`: (.+)$/.exec(cell) ?? [];
    return { guarantee, file, name };
  }),
);

test.each(named)('$guarantee: $name', ({ file, name }) => {
  expect(existsSync(join(ROOT, file)), file).toBe(true);
  const source = readFileSync(join(ROOT, file), 'utf8');
  const isThere = ["'", '"', '`'].some((quote) => source.includes(`${quote}${name}${quote}`));
  expect(isThere, `${file} has no test "${name}"`).toBe(true);
});

test('the twenty bugs and the pains that are ours are all named', () => {
  const text = rows.map(([, , , whose]) => whose).join(' ');
  const numbers = (word: string): Set<number> =>
    new Set(
      [...text.matchAll(new RegExp(`${word}s? (\\d+)(?: and (\\d+))?`, 'g'))].flatMap(([, ...found]) =>
        found.filter((number) => number !== undefined).map(Number),
      ),
    );
  const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1);
  expect([...numbers('C2')].sort((a, b) => a - b)).toEqual(upTo(20));
  expect([...numbers('pain')].sort((a, b) => a - b)).toEqual([...upTo(15), 19, 20]);
});
