// A real PostgreSQL from npm for `npm start` and the tests: no Docker, no installation, data kept on disk.
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Binaries, locateBinaries, type OsUser } from './binaries.ts';
import {
  ensureCluster,
  freePort,
  type Instance,
  isPortFree,
  newPassword,
  readInstance,
  writeInstance,
} from './cluster.ts';
import { placeFolder, serverUser } from './place.ts';
import { clearLeftover, isPostmasterOf, readPidFile, spawnServer, stopServer, stopWithUs } from './server.ts';

export interface EmbeddedPostgresOptions {
  /** The instance's own folder; made if missing. Holds `data/`, `instance.json` (0600) and `postgres.log`. */
  dataDir: string;
  /** Wanted port; another is taken if this one is. Default: the one of the last run, else any free one. */
  port?: number;
  /** Hears in one line each what a person should know: folders moved, ports changed, a server that died. */
  onLog?: (line: string) => void;
  /** Default true. False turns fsync off, for databases that are thrown away. */
  durable?: boolean;
}

export interface EmbeddedPostgres {
  url(database: string): string;
  port: number;
  /** Where the data is: `dataDir`, or the folder that stands in for it when root cannot share that one. */
  folder: string;
  stop(): Promise<void>;
}

/** After a kill -9 of the server alone its sessions need a moment to notice and let go of the shared memory. */
const RETRY_MS_MAX = 10_000;

/** A restart may overlap with the end of the run before, which finishes its requests first. */
const HANDOVER_MS_MAX = 5_000;

export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const onLog = options.onLog ?? (() => undefined);
  const durable = options.durable ?? true;
  const user = serverUser();
  const folder = placeFolder(options.dataDir, user, onLog);
  const bin = await locateBinaries(user, onLog);
  const instance = await claim(folder, options.port, onLog);
  await ensureCluster(folder, bin, user, { password: instance.password, durable });
  await clearLeftover(join(folder, 'data'));
  // Not before: a start that is refused would take itself for the owner of a server that another run left behind.
  instance.owner = process.pid;
  writeInstance(folder, instance);
  const child = await startOnFreePort(bin, user, { folder, durable, instance, onLog });
  writeInstance(folder, instance);
  return control(child, { bin, user, folder, instance, onLog });
}

/** The process that uses the folder's database; undefined if nobody does, or only a server left behind. */
function holder(folder: string): number | undefined {
  const data = join(folder, 'data');
  const running = readPidFile(data)?.pid;
  if (running === undefined || !isPostmasterOf(data, running)) return undefined;
  const owner = readInstance(folder)?.owner;
  return owner !== undefined && isAlive(owner) ? owner : undefined;
}

/** What the folder's instance remembers, unless another process is using the folder and goes on to. */
async function claim(
  folder: string,
  port: number | undefined,
  onLog: (line: string) => void,
): Promise<Instance> {
  const data = join(folder, 'data');
  const owner = holder(folder);
  if (owner !== undefined && owner !== process.pid) {
    onLog(`the database in ${folder} is in use by process ${owner}; waiting for that one to stop`);
    const deadline = Date.now() + HANDOVER_MS_MAX;
    while (holder(folder) !== undefined && Date.now() < deadline) await delay(100);
  }
  if (holder(folder) !== undefined) {
    throw new Error(
      `The database in ${folder} is in use by process ${owner}. Stop that one, or give this one a folder of its own (TOLLGATE_HOME).`,
    );
  }
  const saved = readInstance(folder);
  if (saved === undefined && existsSync(data)) {
    throw new Error(
      `${join(folder, 'instance.json')} is missing, and with it the database's password. Bring it back, or start afresh by moving ${folder} away.`,
    );
  }
  const instance: Instance = {
    ...saved,
    port: port ?? saved?.port ?? 0,
    password: saved?.password ?? newPassword(),
  };
  // Before initdb, so that no cluster ever exists whose password was not kept.
  writeInstance(folder, instance);
  return instance;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

interface Start {
  folder: string;
  durable: boolean;
  instance: Instance;
  onLog: (line: string) => void;
}

/** Sets `instance.port` to the port that it found. */
async function startOnFreePort(bin: Binaries, user: OsUser | undefined, start: Start): Promise<ChildProcess> {
  const { instance, folder, durable, onLog } = start;
  const deadline = Date.now() + RETRY_MS_MAX;
  for (;;) {
    const wanted = instance.port;
    if (wanted === 0 || !(await isPortFree(wanted))) instance.port = await freePort();
    if (wanted !== 0 && wanted !== instance.port) {
      onLog(`port ${wanted} is taken, so PostgreSQL listens on ${instance.port}`);
    }
    const outcome = await spawnServer(bin, user, { folder, port: instance.port, durable });
    if ('child' in outcome) return outcome.child;
    const mayPass = /could not (bind|create any TCP)|pre-existing shared memory|is still in use/.test(
      outcome.failed,
    );
    if (!mayPass || Date.now() > deadline) {
      throw new Error(`PostgreSQL in ${folder} did not start:\n${outcome.failed}`);
    }
    await delay(200);
  }
}

function control(
  child: ChildProcess,
  parts: {
    bin: Binaries;
    user: OsUser | undefined;
    folder: string;
    instance: Instance;
    onLog: (line: string) => void;
  },
): EmbeddedPostgres {
  const { instance, folder } = parts;
  const unwatch = stopWithUs(child.pid ?? 0, parts.user);
  let stopping: Promise<void> | undefined;
  child.once('exit', (code, signal) => {
    unwatch();
    if (stopping === undefined) {
      parts.onLog(`PostgreSQL stopped by itself (${signal ?? code}); see ${join(folder, 'postgres.log')}`);
    }
  });
  child.unref();
  return {
    url: (database) =>
      `postgresql://postgres:${instance.password}@127.0.0.1:${instance.port}/${encodeURIComponent(database)}`,
    port: instance.port,
    folder,
    stop: () => {
      stopping ??= stopServer(child, parts.bin, folder);
      return stopping;
    },
  };
}
