import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { driftScript, migrationStatus } from '../../src/store/migrate.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const require = createRequire(import.meta.url);
let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

test('the migrations make exactly what schema.prisma says', async () => {
  expect(await driftScript(database.url)).toBe('');
});

test('a migrated database has nothing pending', async () => {
  expect(await migrationStatus(database.url)).toEqual([]);
});

test("the schema engine is the one that Prisma's own packages name", () => {
  const enginesFolder = require.resolve('@prisma/engines/package.json', {
    paths: [require.resolve('prisma/package.json')],
  });
  const engines = JSON.parse(readFileSync(enginesFolder, 'utf8'));
  const entry = require.resolve('@prisma/schema-engine-wasm/schema_engine_bg');
  const wasm = JSON.parse(readFileSync(entry.replace(/schema_engine_bg\.js$/, 'package.json'), 'utf8'));
  expect(wasm.version).toBe(engines.dependencies['@prisma/engines-version']);
});
