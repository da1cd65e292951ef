// As whom PostgreSQL runs and where its folder is.
//
// PostgreSQL refuses to run as root. Containers and CI machines often are root, so it then runs as the OS user
// `postgres`, and its folder has to be one that this user can enter.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { type OsUser, SHARED_FOLDER } from './binaries.ts';

const OS_USER = 'postgres';

function userId(flag: '-u' | '-g'): number | undefined {
  const out = spawnSync('id', [flag, OS_USER], { encoding: 'utf8' });
  return out.status === 0 ? Number(out.stdout.trim()) : undefined;
}

/** The user to run PostgreSQL as; undefined = the one we are, which is not root. */
export function serverUser(): OsUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  if (userId('-u') === undefined) {
    spawnSync('useradd', ['--system', '--user-group', '--no-create-home', OS_USER], { stdio: 'ignore' });
  }
  const uid = userId('-u');
  const gid = userId('-g');
  if (uid === undefined || gid === undefined) {
    throw new Error(
      `PostgreSQL does not run as root, and the OS user "${OS_USER}" could not be made. Make it ("useradd --system ${OS_USER}"), run as another user, or set DATABASE_URL.`,
    );
  }
  return { uid, gid };
}

/** Tried and not computed: permission bits of every parent, ACLs and mounts all have a say in it. */
function canEnter(folder: string, user: OsUser): boolean {
  return spawnSync('/bin/sh', ['-c', 'cd -- "$1"', 'sh', folder], { cwd: '/', ...user }).status === 0;
}

/**
 * The folder for one instance: `wanted`, or, where the server's user cannot enter it, one of its own under
 * /var/lib/tollgate that is found again by the wanted path.
 */
export function placeFolder(wanted: string, user: OsUser | undefined, onLog: (line: string) => void): string {
  mkdirSync(wanted, { recursive: true, mode: 0o700 });
  const folder = realpathSync(wanted);
  if (user === undefined) return folder;
  // Enter, not list: the secret in it stays root's own (0600).
  chmodSync(folder, 0o711);
  if (canEnter(folder, user)) return folder;
  const moved = join(SHARED_FOLDER, createHash('sha256').update(folder).digest('hex').slice(0, 12));
  mkdirSync(moved, { recursive: true, mode: 0o711 });
  chmodSync(moved, 0o711);
  chmodSync(SHARED_FOLDER, 0o755);
  onLog(`running as root and ${folder} is private to root, so the database is kept in ${moved}`);
  return moved;
}
