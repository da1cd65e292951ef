// Prisma Migrate's engine as WebAssembly: migrations without the native engine, which the CLI would download from
// binaries.prisma.sh at its first use. The package's version must be the one that @prisma/engines names (a test
// holds them together); it is byte-identical to the engine inside the CLI and writes the same rows.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { PrismaPg } from '@prisma/adapter-pg';
import {
  bindMigrationAwareSqlAdapterFactory,
  ColumnTypeEnum,
  type SqlDriverAdapter,
  type SqlMigrationAwareDriverAdapterFactory,
} from '@prisma/driver-adapter-utils';
import * as wasm from '@prisma/schema-engine-wasm/schema_engine_bg';
import pg from 'pg';

export type SchemaEngine = wasm.SchemaEngine;

/** What one use of the engine opened, and the error of the last script that failed in it. */
interface Sessions {
  pools: pg.Pool[];
  scriptError?: unknown;
}

/** Node's own global, whose types come only with the browser's (lib "dom"). */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: Record<string, object>) => { exports: object };
};

/** PostgreSQL's one-byte "char", which the catalog queries return, and the type to report it as. */
const OID_CHAR = 18;
const OID_BPCHAR = 1042;

/**
 * Calls `use` with an engine on the database and ends every session of it afterwards: the engine's advisory lock
 * lives as long as its session, and a pool left open made the next engine in the same process wait 10 s and fail.
 */
export async function withSchemaEngine<T>(
  databaseUrl: string,
  prismaFolder: string,
  use: (engine: SchemaEngine) => Promise<T>,
): Promise<T> {
  instantiate();
  const sessions: Sessions = { pools: [] };
  const file = schemaFile(prismaFolder);
  const engine = await wasm.SchemaEngine.new(
    { datamodels: [[file.path, file.content]] },
    () => undefined,
    bindMigrationAwareSqlAdapterFactory(adapterFactory(databaseUrl, sessions)),
  );
  try {
    return await use(engine);
  } catch (error) {
    throw asError(error, sessions.scriptError);
  } finally {
    engine.free();
    await Promise.all(sessions.pools.filter((pool) => !pool.ended).map((pool) => pool.end()));
  }
}

export function schemaFile(prismaFolder: string): { path: string; content: string } {
  const path = join(prismaFolder, 'schema.prisma');
  return { path, content: readFileSync(path, 'utf8') };
}

/**
 * The engine's errors are not all of class Error, and it retells a failed script in few words ("No such table:
 * Nowhere"), so PostgreSQL's own error comes along as the cause.
 */
function asError(error: unknown, scriptError: unknown): Error {
  const message = (error as { message?: unknown } | null)?.message;
  return new Error(typeof message === 'string' ? message : JSON.stringify(error), {
    cause: scriptError ?? error,
  });
}

let instantiated = false;

/** By hand, because the package's main entry imports the .wasm file as a module, which Node 20 cannot. */
function instantiate(): void {
  if (instantiated) return;
  // Rust panics come through this global; without it a panic shows as a TypeError.
  const scope = globalThis as { PRISMA_WASM_PANIC_REGISTRY?: { set_message(message: string): void } };
  scope.PRISMA_WASM_PANIC_REGISTRY ??= {
    set_message: (message) => {
      throw new Error(`Prisma's schema engine panicked: ${message}`);
    },
  };
  const entry = createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm/schema_engine_bg');
  const module = new WebAssembly.Module(readFileSync(entry.replace(/\.js$/, '.wasm')));
  const instance = new WebAssembly.Instance(module, { './schema_engine_bg.js': engineImports() });
  wasm.__wbg_set_wasm(instance.exports);
  (instance.exports as { __wbindgen_start(): void }).__wbindgen_start();
  instantiated = true;
}

/**
 * The engine's own, except that its timers do not hold the process: it never clears the 10 s one for its advisory
 * lock, so that every deploy would end 10 s late.
 */
function engineImports(): Record<string, unknown> {
  const imports: Record<string, unknown> = { ...wasm };
  for (const name of Object.keys(imports).filter((each) => each.startsWith('__wbg_setTimeout_'))) {
    imports[name] = (callback: () => void, ms: number) => setTimeout(callback, ms >>> 0).unref();
  }
  return imports;
}

/** Rows that came with "char" columns, and which columns those were. */
const charColumns = new WeakMap<object, number[]>();

/** Correction 1 of 4 to adapter-pg 7.10: it has no mapping for "char" ("Column type 'char' could not be deserialized"). */
function reportCharColumns(pool: pg.Pool): void {
  const original = pool.query.bind(pool) as (...args: unknown[]) => Promise<pg.QueryArrayResult>;
  const query = async (...args: unknown[]) => {
    const result = await original(...args);
    const columns = (result.fields ?? []).flatMap((field, i) => (field.dataTypeID === OID_CHAR ? [i] : []));
    for (const field of result.fields ?? []) {
      if (field.dataTypeID === OID_CHAR) field.dataTypeID = OID_BPCHAR;
    }
    if (columns.length > 0) charColumns.set(result.rows, columns);
    return result;
  };
  // pg.Pool's query has eleven overloads; the adapter only ever awaits it.
  pool.query = query as typeof pool.query;
}

async function openAdapter(databaseUrl: string, sessions: Sessions): Promise<SqlDriverAdapter> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  // Without a listener a connection that breaks while idle ends the process; the next query reports it anyway.
  pool.on('error', () => undefined);
  sessions.pools.push(pool);
  reportCharColumns(pool);
  const adapter = await new PrismaPg(pool, { disposeExternalPool: true }).connect();
  // Correction 2: executeScript() splits the text at every ";", which cuts PL/pgSQL bodies and strings apart, and
  // runs the parts one by one. As one query it stays whole and, being one implicit transaction, atomic.
  const translate = (adapter as unknown as { onError(error: unknown): never }).onError.bind(adapter);
  adapter.executeScript = async (sql) => {
    await pool.query(sql).catch((error: unknown) => {
      sessions.scriptError = error;
      translate(error);
    });
  };
  const queryRaw = adapter.queryRaw.bind(adapter);
  adapter.queryRaw = async (query) => {
    const result = await queryRaw(query);
    for (const i of charColumns.get(result.rows) ?? []) result.columnTypes[i] = ColumnTypeEnum.Character;
    return result;
  };
  return adapter;
}

function adapterFactory(databaseUrl: string, sessions: Sessions): SqlMigrationAwareDriverAdapterFactory {
  // Correction 3: its shadow pool only overrides `database`, and in node-postgres the connection string wins over
  // that: the "shadow" would be the MAIN database. So the name is replaced in the string.
  const open = (database: string) => {
    const url = new URL(databaseUrl);
    url.pathname = `/${database}`;
    return openAdapter(url.href, sessions);
  };
  const main = () => openAdapter(databaseUrl, sessions);
  return {
    provider: 'postgres',
    adapterName: '@prisma/adapter-pg',
    connect: main,
    connectToShadowDb: async () => {
      const database = `prisma_migrate_shadow_db_${randomUUID()}`;
      const admin = await main();
      await admin.executeScript(`CREATE DATABASE "${database}"`);
      const shadow = await open(database);
      const end = shadow.dispose.bind(shadow);
      // Correction 4: it drops the shadow before it ends its own pool ("being accessed by other users").
      shadow.dispose = async () => {
        await end();
        await admin.executeScript(`DROP DATABASE IF EXISTS "${database}" WITH (FORCE)`);
        await admin.dispose();
      };
      return shadow;
    },
  };
}
