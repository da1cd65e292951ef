// Reconciliation in bounded memory: the peak of 10,000 subscriptions against that of 1,000.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { z } from 'zod';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { migrate } from '../../src/store/migrate.ts';
import type { Benchmark, Row } from '../benchmark.ts';
import { idOf, startFakeStripe } from '../fake-stripe.ts';
import { fill } from '../reconcile-fill.ts';

const SMALL = 1_000;
const LARGE = 10_000;
/** The user whose grant is taken away: a run that finds nothing might not have looked. */
const BROKEN = 777;

const outputShape = z.object({
  seconds: z.number(),
  peakMegabytes: z.number(),
  startMegabytes: z.number(),
  counts: z.record(z.string(), z.number()),
  found: z.array(z.string()),
});
type Output = z.infer<typeof outputShape> & { requests: number };

async function measure(postgres: EmbeddedPostgres, count: number): Promise<Output> {
  const name = `bench_${count}`;
  const admin = new pg.Client({ connectionString: postgres.url('postgres') });
  await admin.connect();
  await admin.query(`create database ${name}`);
  await admin.end();
  const databaseUrl = postgres.url(name);
  await migrate(databaseUrl);
  await fill(databaseUrl, count);
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query('delete from credit_grants where user_id = $1', [idOf('user', BROKEN)]);
  await client.end();
  const stripe = await startFakeStripe(count);
  try {
    const script = fileURLToPath(new URL('../reconcile-run.ts', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', script], {
      env: {
        PATH: process.env.PATH,
        DATABASE_URL: databaseUrl,
        STRIPE_SECRET_KEY: 'sk_test_bench',
        STRIPE_API_BASE: stripe.url,
        STRIPE_WEBHOOK_SECRET: 'whsec_bench',
        AUTH_JWT_SECRET: 'x'.repeat(32),
      },
    });
    return { ...outputShape.parse(JSON.parse(stdout)), requests: stripe.requests() };
  } finally {
    stripe.server.close();
  }
}

function wrong({ counts, found }: Output, count: number): string[] {
  const faults = ['subscriptions', 'payments', 'users', 'ourLines', 'ourSubscriptions']
    .filter((name) => counts[name] !== count)
    .map((name) => `${counts[name]} ${name} compared of ${count}`);
  const expected = `missing_grant ${idOf('user', BROKEN)}`;
  return found.join() === expected
    ? faults
    : [...faults, `found ${found.slice(0, 5).join()} and not ${expected}`];
}

async function memory(): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-bench-'));
  await chmod(folder, 0o711);
  const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres'), durable: false });
  try {
    const small = await measure(postgres, SMALL);
    const large = await measure(postgres, LARGE);
    const [a, b] = [large.peakMegabytes, small.peakMegabytes];
    const oracle = [...wrong(small, SMALL), ...wrong(large, LARGE)];
    const note = `MB, ${large.seconds.toFixed(1)} s with ${large.requests} requests to Stripe`;
    return [
      { name: 'reconcile-memory', ratio: a / b, a, b, note, oracle, goal: 2, aim: 1.5, isCeiling: true },
    ];
  } finally {
    await postgres.stop();
    rmSync(postgres.folder, { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true });
  }
}

export const reconcile: Benchmark[] = [
  {
    name: 'reconcile',
    says: `peak memory of a reconciliation of ${LARGE.toLocaleString('en')} subscriptions ÷ of ${SMALL.toLocaleString('en')}`,
    run: memory,
  },
];
