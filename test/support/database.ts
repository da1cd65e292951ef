// A database of its own for a test file: a clone of the migrated template (0.1 to 0.3 s), so that files run side by
// side and none cleans up after another.
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { distribute } from './citus.ts';

export interface TestDatabase {
  url: string;
  drop(): Promise<void>;
}

/** The server of this run; for tests that make databases themselves. */
export function testServerUrl(database = 'postgres'): string {
  const url = new URL(inject('testServerUrl'));
  url.pathname = `/${database}`;
  return url.href;
}

async function onServer(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: testServerUrl() });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

async function create(template: string): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  // Copied through the log: the default for clones this small, and it takes no checkpoint that others wait for.
  await onServer(`create database ${name} template ${template} strategy wal_log`);
  return {
    url: testServerUrl(name),
    drop: () => onServer(`drop database if exists ${name} with (force)`),
  };
}

/** Migrated and empty. */
export function createTestDatabase(): Promise<TestDatabase> {
  return create(inject('testTemplate'));
}

/** The same as prisma/citus.sql leaves it: a lane for each bucket. */
export async function createDistributedDatabase(): Promise<TestDatabase> {
  const database = await createTestDatabase();
  await distribute(database.url);
  return database;
}

/** Without any table: what a first deploy finds. */
export function createEmptyDatabase(): Promise<TestDatabase> {
  return create('template0');
}
