// One throw-away PostgreSQL for the whole run, and in it one migrated database that the test files clone.
import { mkdtempSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { migrate } from '../../src/store/migrate.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** The server of this run, as a URL on its `postgres` database. */
    testServerUrl: string;
    /** The migrated database to clone. */
    testTemplate: string;
  }
}

const TEMPLATE_DATABASE = 'tollgate_template';

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dataDir = mkdtempSync(join(tmpdir(), 'tollgate-test-'));
  // mkdtemp makes it 0700; the OS user `postgres` has to enter when the tests run as root.
  await chmod(dataDir, 0o711);
  const postgres = await startEmbeddedPostgres({ dataDir: join(dataDir, 'postgres'), durable: false });
  const stop = async () => {
    await postgres.stop();
    rmSync(postgres.folder, { recursive: true, force: true });
    rmSync(dataDir, { recursive: true, force: true });
  };
  try {
    const admin = new pg.Client({ connectionString: postgres.url('postgres') });
    await admin.connect();
    await admin.query(`create database ${TEMPLATE_DATABASE}`);
    await migrate(postgres.url(TEMPLATE_DATABASE));
    // Nobody can connect by accident: a single session on the template would block every clone.
    await admin.query(`alter database ${TEMPLATE_DATABASE} with allow_connections false is_template true`);
    await admin.end();
  } catch (error) {
    await stop();
    throw error;
  }
  project.provide('testServerUrl', postgres.url('postgres'));
  project.provide('testTemplate', TEMPLATE_DATABASE);
  return stop;
}
