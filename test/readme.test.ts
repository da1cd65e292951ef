// The README is run: its session gives what it shows, and each command that it names is there.
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Local, startLocal } from '../src/local.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');

interface Shown {
  command: string;
  output: string;
}

/** Commands with what the README shows below them. */
const shown: Shown[] = [...readme.matchAll(/```console\n([\s\S]*?)```/g)].flatMap((block) =>
  block[1]!
    .split(/^\$ /m)
    .slice(1)
    .map((text) => {
      const [command = '', ...output] = text.split('\n');
      return { command, output: output.join('\n').trimEnd() };
    }),
);
const session = shown.filter(({ command }) => !command.startsWith('npm run'));

/** What differs from run to run: ids, times, addresses, widths of shell output aside. */
const normal = (text: string): string =>
  text
    .replaceAll(/\b(gr|le|cs_test|req)_[A-Za-z0-9_]+/g, '$1_…')
    .replaceAll(/"requestId":"[A-Za-z0-9.-]{8}-[0-9a-z]+"/g, '"requestId":"request"')
    .replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'uuid')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'time')
    .replaceAll(/^\d{4}-\d\d-\d\d /gm, 'date ')
    .replaceAll(/http:\/\/127\.0\.0\.1:\d+/g, 'http://here')
    .replaceAll(/^(Installing|Generating) .*\n/gm, '')
    .replaceAll(/[ \t]+$/gm, '')
    .trim();

let local: Local;
let home: string;
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'tollgate-readme-'));
  await chmod(home, 0o711);
  local = await startLocal({
    environment: { PORT: 0, SANDBOX_PORT: 0 },
    home,
    say: () => {},
    log: pino({ level: 'silent' }),
  });
});
afterAll(async () => {
  await local.stop();
  rmSync(home, { recursive: true, force: true });
});

const SEPARATOR = '=====8<=====';

/** Runs all commands in one shell, since later ones use what earlier ones set. */
async function run(commands: string[]): Promise<string[]> {
  const script = commands
    .map((command) => `${command}\nprintf '%s\\n' '${SEPARATOR}'`)
    .join('\n')
    .replaceAll('./.tollgate/dev.json', local.devFile)
    .replaceAll('http://127.0.0.1:3000', local.dev.url)
    .replaceAll('http://127.0.0.1:12111', String(local.dev.sandboxUrl));
  const child = spawn('bash', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  for await (const chunk of child.stdout) output += chunk;
  return output.split(`${SEPARATOR}\n`).slice(0, -1);
}

describe('the README', () => {
  it('shows what its five minutes give', async () => {
    expect(session.length).toBeGreaterThan(10);
    const outputs = await run(session.map(({ command }) => command));
    const got = session.map(({ command }, index) => ({ command, output: normal(outputs[index] ?? '') }));
    expect(got).toEqual(session.map(({ command, output }) => ({ command, output: normal(output) })));
  }, 60_000);

  it('shows what the demo prints, and the demo ends with 0', async () => {
    const demo = shown.find(({ command }) => command.startsWith('npm run'))!;
    const { stdout } = await promisify(execFile)(process.execPath, [join(ROOT, 'scripts/run.mjs'), 'demo']);
    expect(normal(stdout)).toBe(normal(demo.output));
  }, 120_000);

  it('names only commands that are there', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object };
    const named = [...readme.matchAll(/(?:`|^|\$ )npm (?:run )?(?:--silent )?([a-z]+(?::[a-z]+)?)/gm)].map(
      (match) => match[1]!,
    );
    const builtin = ['ci'];
    expect(named.filter((name) => !(name in scripts) && !builtin.includes(name))).toEqual([]);
  });

  it('names only files that are there', () => {
    const linked = [...readme.matchAll(/\]\((?!http)([^)#]+)\)/g)].map((match) => match[1]!);
    for (const file of linked) expect(() => readFileSync(join(ROOT, file)), file).not.toThrow(/ENOENT/);
  });
});
