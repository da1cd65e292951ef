// Two API processes on one database, asked for the same users with the same keys: whichever comes first decides, the
// other one finds what was decided.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createApiKey } from '../../src/lib/api-keys.ts';
import { findViolations } from '../../src/store/invariants.ts';
import { type Library, openLibrary } from '../support/library.ts';

const CREDIT = 2_000;
const USERS = ['ada', 'bob', 'cyd', 'dan'];
/** That each user can take one by one, and how many are asked for, with a key each. */
const CREDITS = 30;
const KEYS = 45;
const HOLDS = 8;
const TOKENS_PER_HOLD = 10;
const TOKENS = CREDITS * CREDIT + HOLDS * TOKENS_PER_HOLD;
const SIGNUP_TOKENS = 10_000;

let library: Library;
let admin: string;
let processes: ApiProcess[] = [];
beforeAll(async () => {
  library = await openLibrary();
  admin = (await createApiKey(library.context, { name: 'two', scopes: ['admin'] })).key;
  processes = await Promise.all([startApi(), startApi()]);
}, 30_000);
afterAll(async () => {
  await Promise.all(processes.map(({ stop }) => stop()));
  await library.close();
});

interface ApiProcess {
  url: string;
  stop(): Promise<void>;
}

/** What `npm run serve` runs. Stripe is away. */
async function startApi(): Promise<ApiProcess> {
  const { config } = library.context;
  const child: ChildProcess = spawn(process.execPath, ['--import', 'tsx', 'src/server.ts'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env.PATH,
      DATABASE_URL: config.databaseUrl,
      STRIPE_SECRET_KEY: config.stripe.secretKey,
      STRIPE_WEBHOOK_SECRET: 'whsec_two_processes',
      STRIPE_API_BASE: 'http://127.0.0.1:9',
      AUTH_JWT_SECRET: 'x'.repeat(32),
      PORT: '0',
      RATE_LIMIT_KEY_PER_SECOND: '100000',
    },
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
  };
  if (!child.stdout) throw new Error('The process has no output.');
  for await (const line of createInterface(child.stdout)) {
    const { msg, url } = JSON.parse(line);
    if (msg === 'listening') {
      child.stdout.resume();
      return { url, stop };
    }
  }
  throw new Error(`The API ended with ${await exited}.`);
}

interface Answer {
  status: number;
  isReplayed: boolean;
  body: Record<string, unknown>;
}

async function ask(
  n: number,
  method: string,
  path: string,
  { as = admin, key, body }: { as?: string; key?: string; body?: unknown } = {},
): Promise<Answer> {
  const response = await fetch(`${processes[n]?.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${as}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const isReplayed = response.headers.get('idempotent-replayed') === 'true';
  return { status: response.status, isReplayed, body: text ? JSON.parse(text) : {} };
}

/** Through both at once, with one key. */
async function askBoth(path: string, key: string, body: unknown): Promise<[Answer, Answer]> {
  return Promise.all([ask(0, 'POST', path, { key, body }), ask(1, 'POST', path, { key, body })]);
}

/** Both say the same; one of them is the first. */
function expectOneEffect([one, other]: readonly [Answer, Answer], status: number): void {
  expect([one.status, other.status]).toEqual([status, status]);
  expect(one.body).toEqual(other.body);
  expect([one.isReplayed, other.isReplayed].filter(Boolean)).toHaveLength(1);
}

async function newUser(userId: string): Promise<void> {
  await ask(0, 'POST', '/v1/users', { key: 'signup', body: { userId } });
  const bonus = { tokens: TOKENS - SIGNUP_TOKENS, source: 'bonus', reason: 'test' };
  const granted = await ask(1, 'POST', `/v1/users/${userId}/grants`, { key: 'bonus', body: bonus });
  expect(granted.status).toBe(201);
}

test('take each key once, overspend nobody, tell the same of a key, and meet no deadlock', async () => {
  await Promise.all(USERS.map(newUser));
  const holds = USERS.flatMap((userId) =>
    Array.from({ length: HOLDS }, async (_, n) => {
      const placed = await askBoth('/v1/credits/holds', `hold-${n}`, { userId, tokens: TOKENS_PER_HOLD });
      expectOneEffect(placed, 201);
      const path = `/v1/credits/holds/${placed[0].body.holdId}/capture`;
      expectOneEffect(await askBoth(path, `capture-${n}`, { tokens: TOKENS_PER_HOLD }), 200);
    }),
  );
  const consumes = USERS.flatMap((userId) =>
    Array.from({ length: KEYS }, async (_, n) => ({
      userId,
      answers: await askBoth('/v1/credits/consume', `take-${n}`, { userId, credits: 1 }),
    })),
  );
  const [taken] = await Promise.all([Promise.all(consumes), Promise.all(holds)]);
  for (const userId of USERS) {
    const ofUser = taken.filter((one) => one.userId === userId).map(({ answers }) => answers);
    // Balances only fall here: a key that one refuses the other has not taken, and will not.
    const refused = ofUser.filter((answers) => answers.some(({ status }) => status === 402));
    for (const answers of refused) expect(answers.map(({ status }) => status)).toEqual([402, 402]);
    expect(refused).toHaveLength(KEYS - CREDITS);
    for (const answers of ofUser.filter((one) => !refused.includes(one))) {
      expectOneEffect(answers, 200);
    }
    const usage = await ask(1, 'GET', `/v1/users/${userId}/usage`);
    expect(usage.body).toMatchObject({ totalTokensUsed: TOKENS, availableTokens: 0, heldTokens: 0 });
  }
  expect(await findViolations(library.context.pool)).toEqual([]);
  const { rows } = await library.context.pool.query(
    'select deadlocks from pg_stat_database where datname = current_database()',
  );
  expect(rows).toEqual([{ deadlocks: 0 }]);
}, 30_000);

test.each([0, 1])('what process %i took the other one tells of, and does not take again', async (first) => {
  const userId = `fay-${first}`;
  await newUser(userId);
  const request = { key: 'take', body: { userId, credits: 1 } };
  const taken = await ask(first, 'POST', '/v1/credits/consume', request);
  const told = await ask(1 - first, 'POST', '/v1/credits/consume', request);
  expect([taken.isReplayed, told.isReplayed]).toEqual([false, true]);
  expect(told.body).toEqual(taken.body);
});

test('what one changes of a plan or a key the other one sees', async () => {
  const userId = 'eve';
  await newUser(userId);
  const other = await ask(0, 'POST', '/v1/admin/api-keys', {
    key: 'key',
    body: { name: 'other', scopes: ['consume'] },
  });
  const consume = (n: number, key: string) =>
    ask(n, 'POST', '/v1/credits/consume', { as: String(other.body.key), key, body: { userId, credits: 90 } });
  expect((await consume(1, 'as free')).status).toBe(402);
  const plan = { plan: 'pro', periodDays: 30, effective: 'now' };
  expect((await ask(0, 'POST', `/v1/users/${userId}/plan`, { key: 'plan', body: plan })).status).toBe(200);
  expect((await consume(1, 'as pro')).status).toBe(200);
  const revoked = await ask(0, 'DELETE', `/v1/admin/api-keys/${other.body.id}`);
  expect(revoked.status).toBeLessThan(300);
  expect((await consume(0, 'as pro')).status).toBe(401);
  await vi.waitFor(async () => expect((await consume(1, 'as pro')).status).toBe(401), { timeout: 3_000 });
}, 30_000);
