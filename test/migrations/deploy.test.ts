import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  createMigration,
  driftScript,
  migrate,
  migrationList,
  migrationStatus,
  PRISMA_FOLDER,
  resolveFailedMigration,
} from '../../src/store/migrate.ts';
import { withSchemaEngine } from '../../src/store/schema-engine.ts';
import { createEmptyDatabase, type TestDatabase } from '../support/database.ts';

const DEPLOY_ONCE = fileURLToPath(new URL('deploy-once.ts', import.meta.url));
const SCHEMA = `datasource db {\n  provider = "postgresql"\n}\n\nmodel Account {\n  id Int @id\n}\n`;
const ACCOUNT =
  'CREATE TABLE "Account" ("id" INTEGER NOT NULL, CONSTRAINT "Account_pkey" PRIMARY KEY ("id"));';

let database: TestDatabase;
let client: pg.Client;
let prisma: string;

beforeEach(async () => {
  database = await createEmptyDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  prisma = mkdtempSync(join(tmpdir(), 'tollgate-prisma-'));
  writeFileSync(join(prisma, 'schema.prisma'), SCHEMA);
  writeMigration('001_account', ACCOUNT);
  writeFileSync(join(prisma, 'migrations', 'migration_lock.toml'), 'provider = "postgresql"\n');
});

afterEach(async () => {
  await client.end();
  await database.drop();
  rmSync(prisma, { recursive: true, force: true });
});

function writeMigration(name: string, sql: string): void {
  const folder = join(prisma, 'migrations', name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'migration.sql'), sql);
}

async function tableExists(name: string): Promise<boolean> {
  const found = await client.query('select to_regclass($1) is not null as found', [name]);
  return found.rows[0].found;
}

test('a deploy applies what is missing, oldest first, and the next one nothing', async () => {
  writeMigration('002_note', 'CREATE TABLE "Note" ("id" INTEGER);');
  expect(await migrationStatus(database.url, prisma)).toEqual(['001_account', '002_note', 'bullmq']);
  expect(await migrate(database.url, prisma)).toEqual(['001_account', '002_note']);
  expect(await migrate(database.url, prisma)).toEqual([]);
  expect(await migrationStatus(client, prisma)).toEqual([]);
});

test('a deploy leaves no session behind, so that the next in this process need not wait for its lock', async () => {
  await migrate(database.url, prisma);
  const others = () =>
    client.query(
      `select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
    );
  await expect.poll(async () => (await others()).rowCount).toBe(0);
});

test('what `prisma migrate status` asks for finds nothing to report', async () => {
  await migrate(database.url);
  const found = await withSchemaEngine(database.url, PRISMA_FOLDER, (engine) =>
    engine.diagnoseMigrationHistory({
      migrationsList: migrationList(PRISMA_FOLDER),
      optInToShadowDatabase: false,
      filters: { externalTables: [], externalEnums: [] },
    }),
  );
  expect(found).toMatchObject({
    history: null,
    failedMigrationNames: [],
    editedMigrationNames: [],
    hasMigrationsTable: true,
  });
});

test('a failing migration leaves nothing of itself, is named with the way out, and is tried again after it', async () => {
  writeMigration('002_broken', 'CREATE TABLE "Half" ("id" INTEGER);\nINSERT INTO "Nowhere" VALUES (1);');
  writeMigration('003_later', 'CREATE TABLE "Later" ("id" INTEGER);');
  await expect(migrate(database.url, prisma)).rejects.toThrow(
    /^Migration 002_broken failed .*relation "Nowhere" does not exist.*"npm run db:migrate -- resolve 002_broken"/,
  );
  expect(await tableExists('"Account"')).toBe(true);
  expect(await tableExists('"Half"')).toBe(false);
  expect(await tableExists('"Later"')).toBe(false);
  expect(await migrationStatus(client, prisma)).toEqual(['002_broken', '003_later', 'bullmq']);

  writeMigration('002_broken', 'CREATE TABLE "Half" ("id" INTEGER);');
  await expect(migrate(database.url, prisma)).rejects.toThrow(/002_broken failed .*No such table: Nowhere/s);
  await resolveFailedMigration(database.url, '002_broken', 'rolled back', prisma);
  expect(await migrate(database.url, prisma)).toEqual(['002_broken', '003_later']);
  expect(await migrationStatus(client, prisma)).toEqual([]);
});

test('a deploy that was killed before it noted its commit is told apart, and can be marked as applied', async () => {
  await migrate(database.url, prisma);
  await client.query('update _prisma_migrations set finished_at = null, applied_steps_count = 0');
  await expect(migrate(database.url, prisma)).rejects.toThrow(
    /001_account was cut off.*resolve 001_account applied"/,
  );
  await resolveFailedMigration(database.url, '001_account', 'applied', prisma);
  expect(await migrate(database.url, prisma)).toEqual([]);
  expect(await migrationStatus(client, prisma)).toEqual([]);
});

test('a PL/pgSQL body and a string with semicolons arrive whole', async () => {
  writeMigration(
    '002_trigger',
    `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN
       -- a comment; with one too
       IF NEW.id < 0 THEN RAISE EXCEPTION 'no; never'; END IF;
       RETURN NEW;
     END $$;
     CREATE TRIGGER refuse BEFORE INSERT ON "Account" FOR EACH ROW EXECUTE FUNCTION refuse();`,
  );
  await migrate(database.url, prisma);
  await expect(client.query('insert into "Account" values (-1)')).rejects.toThrow('no; never');
  expect(await driftScript(database.url, prisma)).toBe('');
});

test('four deployers at once apply each migration once, and none of them fails', async () => {
  writeMigration('002_slow', 'CREATE TABLE "Slow" ("id" INTEGER); SELECT pg_sleep(0.5);');
  const deploy = () =>
    promisify(execFile)(process.execPath, ['--import', 'tsx', DEPLOY_ONCE, database.url, prisma]);
  const outputs = await Promise.all([deploy(), deploy(), deploy(), deploy()]);
  const applied = outputs.flatMap((output) => JSON.parse(output.stdout) as string[]);
  expect(applied.sort()).toEqual(['001_account', '002_slow']);
  const rows = await client.query(
    'select migration_name from _prisma_migrations where finished_at is not null',
  );
  expect(rows.rowCount).toBe(2);
});

test('a change of the schema shows as drift until a migration is made of it', async () => {
  await migrate(database.url, prisma);
  writeFileSync(join(prisma, 'schema.prisma'), SCHEMA.replace('@id\n', '@id\n  name String?\n'));
  expect(await driftScript(database.url, prisma)).toContain(
    'ALTER TABLE "Account" ADD COLUMN     "name" TEXT',
  );
  const name = await createMigration(database.url, 'name', prisma);
  expect(name).toMatch(/^\d{14}_name$/);
  expect(await driftScript(database.url, prisma)).toBe('');
  expect(await migrate(database.url, prisma)).toEqual([name]);
  expect(await createMigration(database.url, 'again', prisma)).toBeUndefined();
});
