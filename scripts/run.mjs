// Makes a fresh clone ready and runs one of our commands: `npm start` and `npm test` need nothing but Node.
// Only Node's own modules and ours here, because it runs before `npm ci`.
//
// package.json says `exec node … || node …` for what runs long: npm starts a shell, and a shell that is not replaced
// dies of the SIGTERM that npm passes on, while we live on behind npm's back (exit 143 at once, ports still taken).
// Windows' shell has no `exec` and takes the second half.
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { API_FLAGS } from './node-flags.mjs';

const NODE_MIN = [20, 19];
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const SIGNALS = ['SIGTERM', 'SIGINT'];
const REPEAT_MS = 500;
const VITEST = 'node_modules/vitest/vitest.mjs';

/** What each command runs, and the line that says so. Those without a line may be read by other programs. */
const TARGETS = {
  start: {
    file: 'src/start.ts',
    flags: API_FLAGS,
    says: 'npm start: runs Tollgate with its database, Stripe sandbox, API and workers on this machine.',
  },
  test: { says: 'npm test: runs the whole test suite on a throw-away PostgreSQL.' },
  demo: {
    file: 'demo/year.ts',
    says: "npm run demo: plays one subscriber's year against the Stripe sandbox.",
  },
  sim: {
    file: 'sim/run.ts',
    says: 'npm run sim: tells histories of Stripe in order and in chaos; both must end alike.',
  },
  serve: { file: 'src/server.ts', flags: API_FLAGS },
  worker: { file: 'workers/index.ts' },
  cli: { file: 'src/cli.ts' },
  'db:migrate': { file: 'scripts/migrate.ts' },
  bench: { file: 'bench/index.ts' },
};

const [name = '', ...args] = process.argv.slice(2);
const target = TARGETS[name];
const path = (file) => join(ROOT, file);
const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;

function say(text) {
  // Commands that have no line of their own keep stdout for their answer.
  (target?.says ? process.stdout : process.stderr).write(text);
}

function stop(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/** Modification time, 0 if the file is not there. */
function age(file) {
  return existsSync(path(file)) ? statSync(path(file)).mtimeMs : 0;
}

/** Runs one step of the preparation; its output is only worth reading when it fails. */
async function step(what, command, commandArgs, shell = false) {
  const since = Date.now();
  say(`${what} … `);
  const child = spawn(command, commandArgs, { cwd: ROOT, shell, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
    });
  }
  const code = await ended(child);
  say(code === 0 ? `${seconds(since)}\n` : 'failed\n');
  if (code !== 0) stop(`${output.trim()}\n\n${what} failed; the reason is above.`);
}

/** The child's exit code; 128 + n if a signal ended it, as a shell reports it. Signals to us go to it. */
async function ended(child) {
  const unlink = forwardSignals(child);
  const [code, signal] = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (...result) => resolve(result));
  });
  unlink();
  return code ?? 128 + constants.signals[signal];
}

function forwardSignals(child) {
  const last = {};
  const forward = (signal) => {
    // Ctrl-C in a terminal reaches the whole group, so the child has it already, and twice may mean "at once". For the
    // same reason a signal that comes both from the group and from npm is passed on once.
    if (signal === 'SIGINT' && process.stdin.isTTY) return;
    if (Date.now() - (last[signal] ?? 0) < REPEAT_MS) return;
    last[signal] = Date.now();
    child.kill(signal);
  };
  for (const signal of SIGNALS) process.on(signal, forward);
  // npm killed by force cannot pass anything on; a service that outlived it would hold its ports.
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.env.npm_lifecycle_event && process.ppid !== parent) forward('SIGTERM');
  }, REPEAT_MS);
  return () => {
    clearInterval(watch);
    for (const signal of SIGNALS) process.off(signal, forward);
  };
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < NODE_MIN[0] || (major === NODE_MIN[0] && minor < NODE_MIN[1])) {
    stop(
      `Tollgate needs Node ${NODE_MIN.join('.')} or newer; this is ${process.version}. See https://nodejs.org.`,
    );
  }
}

function isInstalled() {
  const stamp = age('node_modules/.package-lock.json');
  return stamp >= age('package-lock.json') && stamp > 0 && (name !== 'test' || existsSync(path(VITEST)));
}

async function install() {
  // Only the tests need the development packages; NODE_ENV=production would leave them out.
  const ciArgs = ['ci', '--no-audit', '--no-fund', ...(name === 'test' ? ['--include=dev'] : [])];
  // npm's own file when npm started us: the same npm, and no shell. On Windows `npm` is a script, which needs one.
  const npm = process.env.npm_execpath;
  const what = 'Installing the packages of package-lock.json (once, about half a minute)';
  if (npm?.endsWith('.js')) await step(what, process.execPath, [npm, ...ciArgs]);
  else await step(what, 'npm', ciArgs, process.platform === 'win32');
}

async function generate() {
  const client = 'src/generated/prisma/client.ts';
  if (age(client) >= age('prisma/schema.prisma') && age(client) > 0) return;
  await step('Generating the database client', process.execPath, [
    'node_modules/prisma/build/index.js',
    'generate',
  ]);
  // Also when generating left the file as it was, so that the next start does not do it again.
  utimesSync(path(client), new Date(), new Date());
}

/** One preparation at a time: two `npm ci` in one folder delete each other's files. */
async function prepare() {
  const lock = path('.tollgate/prepare.lock');
  mkdirSync(dirname(lock), { recursive: true });
  while (!claim(lock)) await new Promise((resolve) => setTimeout(resolve, 200));
  try {
    if (!isInstalled()) {
      await install();
      // Another version of Prisma may generate another client.
      rmSync(path('src/generated'), { recursive: true, force: true });
    }
    if (existsSync(path('prisma/schema.prisma'))) await generate();
  } finally {
    rmSync(lock, { force: true });
  }
}

function claim(lock) {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
  try {
    process.kill(Number(readFileSync(lock, 'utf8')), 0);
  } catch {
    // Its process is gone (or has just finished): the lock is nobody's.
    rmSync(lock, { force: true });
  }
  return false;
}

function node(nodeArgs, env = {}) {
  return ended(
    spawn(process.execPath, nodeArgs, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...env } }),
  );
}

/** Runs the tests and prints the counts of the whole suite below everything else. */
async function test() {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-summary-'));
  const file = join(folder, 'summary.json');
  const code = await node([VITEST, 'run', ...args], { TOLLGATE_TEST_SUMMARY: file });
  // No file: the run ended before it could count, which is a failure of the whole.
  const sum = existsSync(file)
    ? JSON.parse(readFileSync(file, 'utf8'))
    : { passed: 0, failed: 1, skipped: 0 };
  rmSync(folder, { recursive: true, force: true });
  // A red run never ends in "0 failed": vitest also fails for reasons that no test stands for.
  const failed = code !== 0 && sum.failed === 0 ? 1 : sum.failed;
  process.stdout.write(
    `${sum.passed} passed, ${failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''}\n`,
  );
  return code === 0 && failed > 0 ? 1 : code;
}

checkNode();
if (!target) stop(`Usage: node scripts/run.mjs ${Object.keys(TARGETS).join(' | ')} [arguments]`);
if (target.says) say(`${target.says}\n`);
await prepare();
if (target.file && !existsSync(path(target.file))) stop(`${target.file} is missing from this checkout.`);
const { file, flags = [] } = target;
process.exitCode = name === 'test' ? await test() : await node([...flags, '--import', 'tsx', file, ...args]);
