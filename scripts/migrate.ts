// `npm run db:migrate`: the deploy step, and the developers' commands around it.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../src/embedded/postgres.ts';
import {
  createMigration,
  driftScript,
  migrate,
  migrationStatus,
  resolveFailedMigration,
} from '../src/store/migrate.ts';

const USAGE = `Usage: npm run db:migrate [-- COMMAND]
  (none)         apply what is missing to DATABASE_URL
  status         list what is missing; exit 1 if anything is
  resolve NAME [applied]
                 forget a failed migration, so that it is tried again; applied: note that it is there
  create NAME    write the next migration from the changes in prisma/schema.prisma
  drift          print how the migrations and prisma/schema.prisma differ; exit 1 if they do`;

function databaseUrl(): string {
  if (existsSync('.env')) process.loadEnvFile('.env');
  const url = process.env.DATABASE_URL;
  if (!url)
    throw new Error('Set DATABASE_URL to the PostgreSQL that is to be migrated (or write it into .env).');
  return url;
}

/** For the commands that only compare files: they need a server, but nobody's data. */
async function onThrowAwayDatabase<T>(use: (url: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-migrate-'));
  await chmod(folder, 0o711);
  const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres'), durable: false });
  try {
    return await use(postgres.url('postgres'));
  } finally {
    await postgres.stop();
    rmSync(postgres.folder, { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Returns the exit code. */
async function run(command: string, name?: string, as?: string): Promise<number> {
  if (command === 'deploy') {
    const applied = await migrate(databaseUrl());
    console.log(applied.length === 0 ? 'Nothing to migrate.' : `Applied ${applied.join(', ')}.`);
  } else if (command === 'status') {
    const pending = await migrationStatus(databaseUrl());
    console.log(pending.length === 0 ? 'Up to date.' : `Missing: ${pending.join(', ')}.`);
    return pending.length === 0 ? 0 : 1;
  } else if (command === 'drift') {
    const script = await onThrowAwayDatabase((url) => driftScript(url));
    console.log(script === '' ? 'The migrations make exactly what prisma/schema.prisma says.' : script);
    return script === '' ? 0 : 1;
  } else if (command === 'resolve' && name !== undefined) {
    await resolveFailedMigration(databaseUrl(), name, as === 'applied' ? 'applied' : 'rolled back');
    console.log(
      `${name} is noted as ${as === 'applied' ? 'applied' : 'not applied'}. Now: npm run db:migrate`,
    );
  } else if (command === 'create' && name !== undefined) {
    const created = await onThrowAwayDatabase(async (url) => {
      await migrate(url);
      return createMigration(url, name);
    });
    console.log(
      created === undefined ? 'prisma/schema.prisma has not changed.' : `Wrote prisma/migrations/${created}.`,
    );
  } else {
    throw new Error(USAGE);
  }
  return 0;
}

try {
  process.exitCode = await run(process.argv[2] ?? 'deploy', process.argv[3], process.argv[4]);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
