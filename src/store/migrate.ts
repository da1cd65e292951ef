// Brings a database to the schema of this version: our own migrations, then BullMQ's.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MigrationList, SchemaFilter } from '@prisma/schema-engine-wasm/schema_engine_bg';
import { LATEST_SCHEMA_VERSION, runMigrations } from 'bullmq';
import pg from 'pg';
import { schemaFile, withSchemaEngine } from './schema-engine.ts';

/** Holds schema.prisma and migrations/; the tests pass folders of their own. */
export const PRISMA_FOLDER = fileURLToPath(new URL('../../prisma', import.meta.url));

/** Reported as pending when BullMQ's tables are behind the installed BullMQ. */
export const QUEUE_MIGRATION = 'bullmq';

const FILTERS: SchemaFilter = { externalTables: [], externalEnums: [] };

/**
 * "TOLLGATE" in bytes: one deploy at a time on a database, whatever else takes advisory locks there. In decimal, as
 * PostgreSQL 15 does not read hexadecimal.
 */
const DEPLOY_LOCK_KEY = '6075158312842777669';

function migrationFolders(prismaFolder: string): string[] {
  const folder = join(prismaFolder, 'migrations');
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/** The migrations as the engine wants them. */
export function migrationList(prismaFolder: string): MigrationList {
  const baseDir = join(prismaFolder, 'migrations');
  const lockFile = join(baseDir, 'migration_lock.toml');
  return {
    baseDir,
    lockfile: {
      path: 'migration_lock.toml',
      content: existsSync(lockFile) ? readFileSync(lockFile, 'utf8') : null,
    },
    shadowDbInitScript: '',
    migrationDirectories: migrationFolders(prismaFolder).map((name) => ({
      path: name,
      migrationFile: {
        path: 'migration.sql',
        content: { tag: 'ok', value: readFileSync(join(baseDir, name, 'migration.sql'), 'utf8') },
      },
    })),
  };
}

/**
 * Applies what is missing and returns the names of it. Several deployers at once are safe: the others wait for the
 * first, without a limit, because a long migration is no error (the engine's own lock gives up after 10 s).
 */
export async function migrate(databaseUrl: string, prismaFolder = PRISMA_FOLDER): Promise<string[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(`select pg_advisory_lock(${DEPLOY_LOCK_KEY})`);
    const applied = await applyMigrations(databaseUrl, prismaFolder);
    await runMigrations(client);
    return applied;
  } finally {
    // Ends the session and with it the lock.
    await client.end();
  }
}

async function applyMigrations(databaseUrl: string, prismaFolder: string): Promise<string[]> {
  try {
    const done = await withSchemaEngine(databaseUrl, prismaFolder, (engine) =>
      engine.applyMigrations({ migrationsList: migrationList(prismaFolder), filters: FILTERS }),
    );
    return done.appliedMigrationNames;
  } catch (error) {
    const failed = await failedMigration(databaseUrl);
    if (failed === undefined) throw error;
    const cause = error instanceof Error ? error.cause : undefined;
    throw new Error(
      failureText(failed.name, cause instanceof pg.DatabaseError ? cause.message : failed.reason),
      {
        cause: error,
      },
    );
  }
}

function failureText(name: string, reason: string | undefined): string {
  const resolve = `"npm run db:migrate -- resolve ${name}`;
  // No reason: the deployer was killed, perhaps after the commit and before it could note it.
  if (reason === undefined) {
    return `Migration ${name} was cut off; it is in the database as a whole or not at all. Look, then run ${resolve} applied" if it is there, ${resolve}" if it is not, and "npm run db:migrate" again.`;
  }
  return `Migration ${name} failed and was rolled back as a whole (${reason}). Nothing of it is in the database, and later ones wait for it. Correct its migration.sql, then run ${resolve}" and "npm run db:migrate".`;
}

interface FailedMigration {
  name: string;
  reason: string | undefined;
}

async function failedMigration(databaseUrl: string): Promise<FailedMigration | undefined> {
  const rows = await migrationRows(databaseUrl);
  const row = rows.find((each) => each.finished_at === null && each.rolled_back_at === null);
  // The log is the engine's words and, numbered below them, where in the engine it was.
  return row && { name: row.migration_name, reason: row.logs?.split(/\n\s+0: /)[0]?.trim() || undefined };
}

/** Notes that a failed migration is not there, so that the next deploy tries it again, or that it is. */
export async function resolveFailedMigration(
  databaseUrl: string,
  name: string,
  as: 'rolled back' | 'applied' = 'rolled back',
  prismaFolder = PRISMA_FOLDER,
): Promise<void> {
  await withSchemaEngine(databaseUrl, prismaFolder, async (engine) => {
    if (as === 'applied') {
      const migrationsList = migrationList(prismaFolder);
      await engine.markMigrationApplied({ migrationName: name, migrationsList });
    } else {
      await engine.markMigrationRolledBack({ migrationName: name });
    }
  });
}

/** What can run a query: a pool, a client, or a URL for callers that have neither. */
export type MigrationDatabase = string | Pick<pg.Pool | pg.Client, 'query'>;

interface MigrationRow {
  migration_name: string;
  finished_at: Date | null;
  rolled_back_at: Date | null;
  logs: string | null;
}

async function withQueryable<T>(
  database: MigrationDatabase,
  use: (queryable: Pick<pg.Client, 'query'>) => Promise<T>,
): Promise<T> {
  if (typeof database !== 'string') return use(database as Pick<pg.Client, 'query'>);
  const client = new pg.Client({ connectionString: database });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

async function migrationRows(database: MigrationDatabase): Promise<MigrationRow[]> {
  return withQueryable(database, async (queryable) => {
    const table = await queryable.query<{ found: boolean }>(
      `select to_regclass('_prisma_migrations') is not null as found`,
    );
    if (table.rows[0]?.found !== true) return [];
    const rows = await queryable.query<MigrationRow>(
      'select migration_name, finished_at, rolled_back_at, logs from _prisma_migrations order by started_at',
    );
    return rows.rows;
  });
}

async function queueVersion(database: MigrationDatabase): Promise<number> {
  return withQueryable(database, async (queryable) => {
    const table = await queryable.query<{ found: boolean }>(
      `select to_regclass('bullmq.migration') is not null as found`,
    );
    if (table.rows[0]?.found !== true) return 0;
    const version = await queryable.query<{ version: number }>(
      'select coalesce(max(version), 0)::int as version from bullmq.migration',
    );
    return version.rows[0]?.version ?? 0;
  });
}

/**
 * The names of what is not applied, oldest first: two or three catalogue reads and no engine, for `/readyz`.
 * BullMQ checks only its own major version when it connects, so tables behind it would run old functions unseen.
 */
export async function migrationStatus(
  database: MigrationDatabase,
  prismaFolder = PRISMA_FOLDER,
): Promise<string[]> {
  return withQueryable(database, async (queryable) => {
    const rows = await migrationRows(queryable);
    const finished = new Set(
      rows
        .filter((row) => row.finished_at !== null && row.rolled_back_at === null)
        .map((row) => row.migration_name),
    );
    const pending = migrationFolders(prismaFolder).filter((name) => !finished.has(name));
    const queueBehind = (await queueVersion(queryable)) < LATEST_SCHEMA_VERSION;
    return queueBehind ? [...pending, QUEUE_MIGRATION] : pending;
  });
}

/**
 * The SQL that leads from what the migrations make to what schema.prisma says; '' if they agree. Needs the right to
 * create a database. Triggers, checks and views are no part of Prisma's schema and do not show.
 */
export async function driftScript(databaseUrl: string, prismaFolder = PRISMA_FOLDER): Promise<string> {
  const result = await withSchemaEngine(databaseUrl, prismaFolder, (engine) =>
    engine.diff({
      from: { tag: 'migrations', ...migrationList(prismaFolder) },
      to: { tag: 'schemaDatamodel', files: [schemaFile(prismaFolder)] },
      script: true,
      exitCode: true,
      filters: FILTERS,
    }),
  );
  return result.exitCode === 0 ? '' : (result.stdout?.trim() ?? '');
}

/**
 * Writes the next migration's folder from what changed in schema.prisma; undefined if nothing did. The database is a
 * developer's own: it must have all present migrations and nothing else.
 */
export async function createMigration(
  databaseUrl: string,
  name: string,
  prismaFolder = PRISMA_FOLDER,
): Promise<string | undefined> {
  const schema = { files: [schemaFile(prismaFolder)] };
  const migrationsList = migrationList(prismaFolder);
  const made = await withSchemaEngine(databaseUrl, prismaFolder, async (engine) => {
    // First, although its answer is hardly needed: it builds the shadow database through the adapter and keeps its
    // schema; createMigration alone fails with "shadow DB must be provided through an external factory".
    const diagnostic = await engine.devDiagnostic({ migrationsList, filters: FILTERS });
    if (diagnostic.action.tag === 'reset') {
      throw new Error(`This database is not what the migrations make of it. ${diagnostic.action.reason}`);
    }
    const loss = await engine.evaluateDataLoss({ migrationsList, schema, filters: FILTERS });
    if (loss.unexecutableSteps.length > 0) {
      throw new Error(loss.unexecutableSteps.map((step) => step.message).join('\n'));
    }
    return engine.createMigration({
      migrationsList,
      migrationName: name,
      schema,
      draft: false,
      filters: FILTERS,
    });
  });
  if (made.migrationScript === null) return undefined;
  const folder = join(prismaFolder, 'migrations', made.generatedMigrationName);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'migration.sql'), made.migrationScript);
  const lockFile = join(prismaFolder, 'migrations', 'migration_lock.toml');
  if (!existsSync(lockFile)) writeFileSync(lockFile, `provider = "${made.connectorType}"\n`);
  return made.generatedMigrationName;
}
