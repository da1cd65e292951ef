// What a benchmark stands on: a durable PostgreSQL of its own, databases with users in them, servers and load
// generators in processes of their own.
import { type ChildProcess, fork, type StdioOptions } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { API_FLAGS } from '../scripts/node-flags.mjs';
import { configOf, readEnvironment } from '../src/config.ts';
import { openContext } from '../src/context.ts';
import { DEFAULT_CATALOGUE } from '../src/domain/plans.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../src/embedded/postgres.ts';
import { createApiKey } from '../src/lib/api-keys.ts';
import { ENTRIES_PER_PART_MIN, rotateLedger } from '../src/store/ledger-rotation.ts';
import { migrate } from '../src/store/migrate.ts';
import { fill, type Population } from './fill.ts';
import type { HoldsJob, HoldsResult } from './holds-run.ts';
import type { LoadJob, LoadResult } from './load.ts';
import type { ResetJob, ResetResult } from './reset-run.ts';
import type { Questions, ServerJob, ServerKind } from './server.ts';

export interface Scale {
  users: number;
  connections: number;
  seconds: number;
  rounds: number;
  /** Of the large ledger. */
  entries: number;
  /** Users of whom a reset is due. */
  due: number;
  /** After which the memory is measured. */
  consumes: number;
  /** Where CPU profiles of the servers go. */
  profile?: string | undefined;
}

export interface Server {
  port: number;
  apiKey: string;
  ask(question: keyof Questions): Promise<number>;
  stop(): Promise<void>;
  /** kill -9. */
  kill(): Promise<void>;
}

export interface Database {
  url: string;
  apiKey: string;
  client: pg.Client;
}

/**
 * Of a server that has run for a while: memory for the tables, no checkpoint in the middle of a short run, and files for
 * the log that are there already: making one of 16 MB stops all commits for 20 ms.
 */
const SETTINGS = {
  shared_buffers: '2GB',
  max_wal_size: '8GB',
  min_wal_size: '4GB',
  checkpoint_timeout: '30min',
};

export const TOKENS_PER_CONSUME = 10;
/** More than any run takes. */
const TOKENS_PER_GRANT = 1_000_000_000;
const PERIOD_MS = 30 * 86_400_000;

export const inOneMonth = (): Date => new Date(Date.now() + PERIOD_MS);

export class Bed {
  readonly #folder: string;
  #postgres: EmbeddedPostgres;
  readonly #templates = new Map<string, string>();
  readonly #undo: (() => Promise<void>)[] = [];
  #databases = 0;

  private constructor(
    folder: string,
    postgres: EmbeddedPostgres,
    readonly scale: Scale,
  ) {
    this.#folder = folder;
    this.#postgres = postgres;
  }

  static async open(scale: Scale): Promise<Bed> {
    const folder = mkdtempSync(join(tmpdir(), 'tollgate-bench-'));
    await chmod(folder, 0o711);
    const dataDir = join(folder, 'postgres');
    const first = await startEmbeddedPostgres({ dataDir });
    const client = new pg.Client({ connectionString: first.url('postgres') });
    await client.connect();
    for (const [name, value] of Object.entries(SETTINGS)) {
      await client.query(`alter system set ${name} = '${value}'`);
    }
    await client.end();
    await first.stop();
    return new Bed(folder, await startEmbeddedPostgres({ dataDir }), scale);
  }

  /** A database of its own with these users. */
  async database(wanted: Partial<Population> = {}): Promise<Database> {
    const population = {
      users: this.scale.users,
      grantsPerUser: 1,
      tokensPerGrant: TOKENS_PER_GRANT,
      earlierConsumes: 0,
      periodEnd: inOneMonth(),
      ...wanted,
    };
    const name = `bench_${++this.#databases}`;
    await this.#onServer(`create database ${name} template ${await this.#template(population)}`);
    const url = this.#postgres.url(name);
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query('vacuum analyze');
    // What was filled is on the disk: the system would write it in the middle of a run, and commits would wait for that.
    await client.query('checkpoint');
    // Where the server has been killed, its end is no news.
    client.on('error', () => {});
    this.#undo.push(() => client.end());
    return { url, client, apiKey: await newApiKey(url) };
  }

  async #template(population: Population): Promise<string> {
    const { users, grantsPerUser, tokensPerGrant, earlierConsumes } = population;
    const isDue = population.periodEnd.getTime() < Date.now();
    const key = [users, grantsPerUser, tokensPerGrant, earlierConsumes, isDue].join(' ');
    const known = this.#templates.get(key);
    if (known) return known;
    const name = `template_${this.#templates.size + 1}`;
    await this.#onServer(`create database ${name}`);
    await migrate(this.#postgres.url(name));
    const client = new pg.Client({ connectionString: this.#postgres.url(name) });
    await client.connect();
    await fill(client, population);
    // As the job has left a ledger of this size; it also makes the indexes that filling has dropped.
    await rotateLedger(this.#postgres.url(name), new Date(), { entriesMin: ENTRIES_PER_PART_MIN });
    await client.end();
    this.#templates.set(key, name);
    return name;
  }

  async #onServer(sql: string): Promise<void> {
    const client = new pg.Client({ connectionString: this.#postgres.url('postgres') });
    await client.connect();
    await client.query(sql);
    await client.end();
  }

  async server(kind: ServerKind, database: Database, redisUrl?: string): Promise<Server> {
    const log = openSync(join(this.#folder, 'server.log'), 'a');
    const { profile } = this.scale;
    const profiling = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${join(profile, kind)}`];
    const child = start(
      'server.ts',
      ['ignore', log, 'inherit', 'ipc'],
      [...API_FLAGS, '--expose-gc', ...profiling],
    );
    closeSync(log);
    const job: ServerJob = {
      kind,
      apiKey: database.apiKey,
      environment: environmentOf(database.url),
      redisUrl,
    };
    const { port } = await ask<{ port: number }>(child, job);
    const stop = () => ended(child);
    this.#undo.push(stop);
    const kill = async (): Promise<void> => {
      child.kill('SIGKILL');
      await ended(child);
    };
    return { port, apiKey: database.apiKey, ask: (question) => ask(child, question), stop, kill };
  }

  async load({ port, apiKey }: Server, wanted: Partial<LoadJob> = {}): Promise<LoadResult> {
    const { users, connections, seconds } = this.scale;
    const child = start('load.ts', ['ignore', 'inherit', 'inherit', 'ipc']);
    const result = await ask<LoadResult>(child, {
      port,
      apiKey,
      connections,
      users,
      seconds,
      warmupSeconds: seconds / 10,
      tokens: TOKENS_PER_CONSUME,
      items: 1,
      retryShare: 0.01,
      isRead: false,
      rate: null,
      ...wanted,
    });
    await ended(child);
    return result;
  }

  /** Rolls everybody who is due. */
  async reset(kind: ResetJob['kind'], { url }: Database): Promise<ResetResult> {
    const { profile } = this.scale;
    const profiling = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${join(profile, kind)}`];
    const child = start('reset-run.ts', ['ignore', 'inherit', 'inherit', 'ipc'], profiling);
    const job: ResetJob = { kind, environment: environmentOf(url) };
    const result = await ask<ResetResult>(child, job);
    await ended(child);
    return result;
  }

  /** Holds and captures, without HTTP. */
  async holds(kind: HoldsJob['kind'], { url }: Database): Promise<HoldsResult> {
    const { profile, users, connections, seconds } = this.scale;
    const profiling = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${join(profile, kind)}`];
    const child = start('holds-run.ts', ['ignore', 'inherit', 'inherit', 'ipc'], profiling);
    const result = await ask<HoldsResult>(child, {
      kind,
      environment: environmentOf(url),
      callers: connections,
      users,
      seconds,
      warmupSeconds: seconds / 5,
      tokens: TOKENS_PER_CONSUME,
    } satisfies HoldsJob);
    await ended(child);
    return result;
  }

  /** Lines of the servers' log that tell of a failure of theirs. */
  failures(): string[] {
    const log = readFileSync(join(this.#folder, 'server.log'), 'utf8');
    return log.split('\n').filter((line) => line.includes('"level":50'));
  }

  /** kill -9 of PostgreSQL, and its start after that. */
  async killDatabase(): Promise<void> {
    const pidFile = join(this.#postgres.folder, 'data', 'postmaster.pid');
    process.kill(Number(readFileSync(pidFile, 'utf8').split('\n', 1)[0]), 'SIGKILL');
    this.#postgres = await startEmbeddedPostgres({ dataDir: join(this.#folder, 'postgres') });
  }

  /** Stops what the benchmark has started; the server and its templates stay for the next. */
  async clear(): Promise<void> {
    for (let undo = this.#undo.pop(); undo; undo = this.#undo.pop()) await undo();
    for (; this.#databases > 0; this.#databases--) {
      await this.#onServer(`drop database if exists bench_${this.#databases} with (force)`);
    }
  }

  async close(): Promise<void> {
    await this.clear();
    await this.#postgres.stop();
    rmSync(this.#postgres.folder, { recursive: true, force: true });
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function environmentOf(databaseUrl: string): Record<string, string> {
  return {
    DATABASE_URL: databaseUrl,
    STRIPE_SECRET_KEY: 'sk_test_bench',
    STRIPE_API_BASE: 'http://127.0.0.1:9',
    STRIPE_WEBHOOK_SECRET: 'whsec_bench',
    AUTH_JWT_SECRET: 'the-benchmarks-have-a-secret-of-32-chars',
    PORT: '0',
    RATE_LIMIT_KEY_PER_SECOND: '10000000',
  };
}

async function newApiKey(url: string): Promise<string> {
  const config = configOf(readEnvironment(environmentOf(url)));
  const context = await openContext({ config, catalogue: DEFAULT_CATALOGUE });
  const { key } = await createApiKey(context, { name: 'bench', scopes: ['consume', 'read'] });
  await context.close();
  return key;
}

function start(file: string, stdio: StdioOptions, execArgv: string[] = []): ChildProcess {
  return fork(fileURLToPath(new URL(file, import.meta.url)), [], {
    execArgv: ['--import', 'tsx', ...execArgv],
    env: { ...process.env, NODE_ENV: 'production' },
    serialization: 'advanced',
    stdio,
  });
}

function ask<T>(child: ChildProcess, message: object | string): Promise<T> {
  return new Promise((resolve, reject) => {
    const died = (code: number | null) => reject(new Error(`A process of the benchmark ended with ${code}.`));
    child.once('exit', died);
    child.once('message', (answer) => {
      child.off('exit', died);
      resolve(answer as T);
    });
    child.send(message);
  });
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once('exit', () => resolve());
    if (child.connected) child.disconnect();
  });
}
