import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/postgres.ts';

const HOLD = fileURLToPath(new URL('hold.ts', import.meta.url));
const folders: string[] = [];
const children: ChildProcess[] = [];
const servers: EmbeddedPostgres[] = [];
let dataDir: string;

function newFolder(mode = 0o711): string {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-embedded-'));
  chmodSync(folder, mode);
  folders.push(folder);
  return folder;
}

async function start(folder = dataDir, onLog?: (line: string) => void): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ dataDir: folder, ...(onLog ? { onLog } : {}) });
  servers.push(server);
  return server;
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/** A process that holds the database; its pid, its postmaster's, and the URL. */
async function hold(): Promise<{ child: ChildProcess; url: string; lines: AsyncIterator<string> }> {
  const child = spawn(process.execPath, ['--import', 'tsx', HOLD, dataDir], {
    // A group of its own, as a terminal gives to each command.
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const url = (await lines.next()).value;
  return { child, url, lines };
}

function postmasterPid(): number {
  return Number(readFileSync(join(dataDir, 'data', 'postmaster.pid'), 'utf8').split('\n')[0]);
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

beforeAll(async () => {
  dataDir = join(newFolder(), 'postgres');
  const server = await start();
  await query(server.url('postgres'), 'create table kept (n int); insert into kept values (1)');
  await server.stop();
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

test('data, port and password are the same at the next start', async () => {
  const first = await start();
  await first.stop();
  const second = await start();
  expect(second.url('postgres')).toBe(first.url('postgres'));
  expect(await query(second.url('postgres'), 'select n from kept')).toEqual([{ n: 1 }]);
});

test('it is durable, listens on the loopback only, and its password is the owner’s alone', async () => {
  const server = await start();
  const [settings] = await query(
    server.url('postgres'),
    `select current_setting('fsync') fsync, current_setting('listen_addresses') addresses,
            current_setting('max_connections') connections, current_setting('unix_socket_directories') sockets`,
  );
  expect(settings).toEqual({ fsync: 'on', addresses: '127.0.0.1', connections: '200', sockets: '' });
  expect(statSync(join(dataDir, 'instance.json')).mode & 0o777).toBe(0o600);
  const wrong = new URL(server.url('postgres'));
  wrong.password = 'wrong';
  await expect(query(wrong.href, 'select 1')).rejects.toThrow(/password authentication failed/);
});

test('what its owner sets is not overridden at the next start', async () => {
  const first = await start();
  await query(first.url('postgres'), `alter system set shared_buffers = '64MB'`);
  await first.stop();
  const second = await start();
  expect(await query(second.url('postgres'), 'show shared_buffers')).toEqual([{ shared_buffers: '64MB' }]);
  await query(second.url('postgres'), 'alter system reset shared_buffers');
});

test('two instances with other folders run side by side', async () => {
  const [one, two] = await Promise.all([start(), start(join(newFolder(), 'postgres'))]);
  expect(one.port).not.toBe(two.port);
  expect(await query(two.url('postgres'), `select to_regclass('kept') as kept`)).toEqual([{ kept: null }]);
});

test('a port that is taken is replaced by a free one, and said', async () => {
  const { port } = JSON.parse(readFileSync(join(dataDir, 'instance.json'), 'utf8'));
  const squatter: Server = createServer().listen(port, '127.0.0.1');
  await once(squatter, 'listening');
  const lines: string[] = [];
  const server = await start(dataDir, (line) => lines.push(line));
  squatter.close();
  expect(server.port).not.toBe(port);
  expect(lines).toContain(`port ${port} is taken, so PostgreSQL listens on ${server.port}`);
});

test('a folder in use is refused with the process that uses it', async () => {
  const { child } = await hold();
  await expect(start()).rejects.toThrow(`is in use by process ${child.pid}`);
});

test('kill -9 of our process takes the server with it, and the next start finds the data', async () => {
  const { child } = await hold();
  const pid = postmasterPid();
  child.kill('SIGKILL');
  await once(child, 'exit');
  await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
  const server = await start();
  expect(await query(server.url('postgres'), 'select n from kept')).toEqual([{ n: 1 }]);
});

test('kill -9 of everything, and the old pid now being another process’s, does not stop the next start', async () => {
  const { child } = await hold();
  const pidFile = join(dataDir, 'data', 'postmaster.pid');
  const stale = readFileSync(pidFile, 'utf8');
  process.kill(postmasterPid(), 'SIGKILL');
  child.kill('SIGKILL');
  await once(child, 'exit');
  writeFileSync(pidFile, stale.replace(/^\d+/, String(process.pid)));
  const server = await start();
  expect(await query(server.url('postgres'), 'select n from kept')).toEqual([{ n: 1 }]);
});

test('Ctrl-C in the terminal does not take the database from under the requests in flight', async () => {
  const { child, url, lines } = await hold();
  process.kill(-(child.pid as number), 'SIGINT');
  expect((await lines.next()).value).toBe('interrupted');
  expect(await query(url, 'select n from kept')).toEqual([{ n: 1 }]);
});

test('a folder of another major version is refused and left as it is', async () => {
  const version = join(dataDir, 'data', 'PG_VERSION');
  const own = readFileSync(version, 'utf8');
  const instance = readFileSync(join(dataDir, 'instance.json'), 'utf8');
  writeFileSync(version, '15\n');
  await expect(start()).rejects.toThrow(/was written by PostgreSQL 15; this is PostgreSQL 18/);
  expect(readFileSync(join(dataDir, 'instance.json'), 'utf8')).toBe(instance);
  writeFileSync(version, own);
  const server = await start();
  expect(await query(server.url('postgres'), 'select n from kept')).toEqual([{ n: 1 }]);
});

test.runIf(process.getuid?.() === 0)(
  'as root, data under a folder that is private to root moves, and is said',
  async () => {
    const wanted = join(newFolder(0o700), 'postgres');
    const lines: string[] = [];
    const server = await start(wanted, (line) => lines.push(line));
    folders.push(server.folder);
    expect(server.folder).toMatch(/^\/var\/lib\/tollgate\/[0-9a-f]{12}$/);
    expect(lines[0]).toContain(`the database is kept in ${server.folder}`);
    await server.stop();
    expect((await start(wanted)).url('postgres')).toBe(server.url('postgres'));
  },
);
