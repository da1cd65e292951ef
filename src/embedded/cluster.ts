// The data folder: made once, and told apart from another major version's.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Binaries, OsUser } from './binaries.ts';

/** What one instance remembers between runs, in `instance.json` beside the data. */
export interface Instance {
  port: number;
  password: string;
  /** The process that last started the server; a server found running without it was orphaned. */
  owner?: number;
}

export function readInstance(folder: string): Instance | undefined {
  const file = join(folder, 'instance.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Instance) : undefined;
}

export function writeInstance(folder: string, instance: Instance): void {
  writePrivate(join(folder, 'instance.json'), `${JSON.stringify(instance)}\n`);
}

/** The mode is set again because `writeFileSync` gives it to new files only. */
function writePrivate(file: string, text: string): void {
  writeFileSync(file, text, { mode: 0o600 });
  chmodSync(file, 0o600);
}

export function newPassword(): string {
  return randomBytes(24).toString('base64url');
}

/** Makes the cluster if there is none, and refuses one of another major version. */
export async function ensureCluster(
  folder: string,
  bin: Binaries,
  user: OsUser | undefined,
  options: { password: string; durable: boolean },
): Promise<void> {
  const data = join(folder, 'data');
  const versionFile = join(data, 'PG_VERSION');
  if (existsSync(versionFile)) {
    const found = readFileSync(versionFile, 'utf8').trim();
    if (found === String(bin.major)) return;
    throw new Error(
      `${data} was written by PostgreSQL ${found}; this is PostgreSQL ${bin.major}, which cannot read it. Dump it with ${found} and load it here, or start afresh by moving ${folder} away.`,
    );
  }
  // Built beside and renamed: an initdb that is cut off leaves no half cluster that looks like a whole one.
  const partial = join(folder, 'data.partial');
  const passwordFile = join(folder, 'initdb-password');
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { mode: 0o700 });
  writePrivate(passwordFile, `${options.password}\n`);
  try {
    if (user !== undefined) {
      chownSync(partial, user.uid, user.gid);
      chownSync(passwordFile, user.uid, user.gid);
    }
    await runInitdb(bin.initdb, user, [
      `--pgdata=${partial}`,
      '--username=postgres',
      '--auth=scram-sha-256',
      `--pwfile=${passwordFile}`,
      // PostgreSQL's own collation: sorts alike on every machine, whatever locales the system has.
      ...['--encoding=UTF8', '--no-locale', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'],
      ...(options.durable ? [] : ['--no-sync']),
    ]);
    renameSync(partial, data);
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

async function runInitdb(initdb: string, user: OsUser | undefined, args: string[]): Promise<void> {
  const child = spawn(initdb, args, { cwd: '/', stdio: ['ignore', 'ignore', 'pipe'], ...user });
  let output = '';
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  if (code !== 0) throw new Error(`PostgreSQL could not make its data folder:\n${output.trim()}`);
}

export async function isPortFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1' }, () => server.close(() => resolve(true)));
  });
}

export async function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port: 0, host: '127.0.0.1' }, () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
