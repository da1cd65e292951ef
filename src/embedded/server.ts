// One PostgreSQL server process: start it, know when it answers, stop it, and get rid of one left behind.
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Binaries, OsUser } from './binaries.ts';

const POLL_MS = 20;
/** Crash recovery after a kill -9 replays the log since the last checkpoint: seconds, not minutes, at our size. */
const START_MS_MAX = 60_000;
/**
 * Sessions get this long to close by themselves: a pool's end() resolves before its sockets are closed, and a fast
 * shutdown right after it broke them, each with a warning in the log of a service that stopped as it should.
 */
const GRACE_MS = 1_000;
/** A fast shutdown takes 0.1 s; past this it is told to quit without its checkpoint, which is safe too. */
const STOP_MS_MAX = 15_000;

export interface ServerOptions {
  folder: string;
  port: number;
  /** False only for throw-away clusters: a crash of the machine may then lose everything. */
  durable: boolean;
}

function settings(options: ServerOptions): string[] {
  const values = [
    'listen_addresses=127.0.0.1',
    // No socket file: two instances would meet in /tmp, and everybody on the machine may connect there.
    'unix_socket_directories=',
    'max_connections=200',
    'timezone=UTC',
    'log_timezone=UTC',
    'lc_messages=C',
    ...(options.durable ? [] : ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off']),
  ];
  return values.flatMap((value) => ['-c', value]);
}

/** Starts the server; resolves when it answers, or with its log when it exits instead. */
export async function spawnServer(
  bin: Binaries,
  user: OsUser | undefined,
  options: ServerOptions,
): Promise<{ child: ChildProcess } | { failed: string }> {
  const data = join(options.folder, 'data');
  const logFile = join(options.folder, 'postgres.log');
  // To a file and not a pipe, so that the server can still write when our process is gone.
  const log = openSync(logFile, 'w', 0o600);
  const child = spawn(bin.postgres, ['-D', data, '-p', String(options.port), ...settings(options)], {
    cwd: '/',
    // Ctrl-C goes to the whole process group; the database must outlive the requests that are in flight.
    detached: process.platform !== 'win32',
    stdio: ['ignore', log, log],
    ...user,
  });
  closeSync(log);
  let failure: string | undefined;
  child.once('error', (error) => {
    failure = error.message;
  });
  const deadline = Date.now() + START_MS_MAX;
  while (Date.now() < deadline) {
    if (failure !== undefined || child.exitCode !== null || child.signalCode !== null) {
      return { failed: failure ?? readFileSync(logFile, 'utf8').trim() };
    }
    const file = readPidFile(data);
    if (file?.ready === true && file.pid === child.pid) return { child };
    await delay(POLL_MS);
  }
  child.kill('SIGKILL');
  return { failed: `no answer within ${START_MS_MAX / 1000} s\n${readFileSync(logFile, 'utf8').trim()}` };
}

/**
 * Ties the server's life to ours: the pipe closes when this process ends in whatever way, kill -9 included, and
 * the shell then asks the server to shut down. Without it a killed `npm start` leaves PostgreSQL running.
 * Returns what ends the watch. (Windows has no such shell; there the next start stops the orphan.)
 */
export function stopWithUs(pid: number, user: OsUser | undefined): () => void {
  if (process.platform === 'win32') return () => undefined;
  const watcher = spawn('/bin/sh', ['-c', 'cat >/dev/null; kill -INT "$1"', 'sh', String(pid)], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    ...user,
  });
  watcher.unref();
  // A child's pipe is a socket, whatever its declared type; it must not keep our process alive.
  (watcher.stdin as unknown as Socket | null)?.unref();
  // The group, because the shell's `cat` has to end too.
  return () => {
    if (watcher.pid !== undefined && watcher.exitCode === null) signal(-watcher.pid, 'SIGKILL');
  };
}

/** Sends a signal to a process that may be gone already, which is no failure. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export async function stopServer(child: ChildProcess, bin: Binaries, folder: string): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  if (process.platform === 'win32') {
    // There a signal is a plain kill; pg_ctl knows the server's own way.
    execFile(bin.pgCtl, ['stop', '-m', 'fast', '-D', join(folder, 'data')]);
  } else {
    child.kill('SIGTERM');
  }
  // SIGTERM waits for the sessions, SIGINT ends them, SIGQUIT ends everything.
  const fast = setTimeout(() => process.platform !== 'win32' && child.kill('SIGINT'), GRACE_MS);
  const quit = setTimeout(() => child.kill('SIGQUIT'), STOP_MS_MAX);
  await exited;
  clearTimeout(fast);
  clearTimeout(quit);
}

/** A server that is stopping takes its file away between any look and the read. */
function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

/** The pid in `postmaster.pid`, and whether that server says it is ready (its 8th line, which pg_ctl reads too). */
export function readPidFile(data: string): { pid: number; ready: boolean } | undefined {
  const lines = readIfThere(join(data, 'postmaster.pid')).split('\n');
  const pid = Math.abs(Number(lines[0]));
  return Number.isInteger(pid) && pid > 0 ? { pid, ready: lines[7]?.trim() === 'ready' } : undefined;
}

/**
 * True if `pid` is a PostgreSQL that serves `data`. After a kill -9 and a restart of the container the number
 * soon belongs to some other process, and PostgreSQL alone would then refuse to start ("lock file already
 * exists"). A postmaster's working directory is its data folder.
 */
export function isPostmasterOf(data: string, pid: number): boolean {
  if (existsSync('/proc/self/cwd')) {
    try {
      return readlinkSync(`/proc/${pid}/cwd`) === data;
    } catch {
      // No such process, or another user's: it cannot be the one that we would have started.
      return false;
    }
  }
  if (process.platform === 'win32') {
    const listed = spawnSync('tasklist', ['/FI', `PID eq ${pid}`, '/NH'], { encoding: 'utf8' }).stdout;
    return listed.includes('postgres');
  }
  return spawnSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).stdout.includes(data);
}

/** Shuts down a server whose owner is gone and clears a pid file whose server is gone. */
export async function clearLeftover(data: string): Promise<void> {
  const pid = readPidFile(data)?.pid;
  if (pid !== undefined && isPostmasterOf(data, pid)) {
    signal(pid, 'SIGINT');
    const deadline = Date.now() + STOP_MS_MAX;
    while (isPostmasterOf(data, pid)) {
      if (Date.now() > deadline) {
        throw new Error(
          `PostgreSQL (pid ${pid}) of an earlier run still holds ${data} and does not stop. End it ("kill -QUIT ${pid}") and start again.`,
        );
      }
      await delay(POLL_MS);
    }
  }
  rmSync(join(data, 'postmaster.pid'), { force: true });
}
