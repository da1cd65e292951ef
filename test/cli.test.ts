// The operator's commands, run as processes against a database of their own.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyApiKey } from '../src/lib/api-keys.ts';
import { readUsage, signUp } from '../src/lib/users.ts';
import { type Library, openLibrary } from './support/library.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

let library: Library;
beforeAll(async () => {
  library = await openLibrary();
  await signUp(library.context, { userId: 'ada' });
});
afterAll(() => library.close());

interface Run {
  code: number;
  output: string;
  errors: string;
}

function cli(args: string[], environment: Record<string, string> = {}): Promise<Run> {
  const { config } = library.context;
  const env = {
    PATH: process.env.PATH,
    DATABASE_URL: config.databaseUrl,
    STRIPE_SECRET_KEY: config.stripe.secretKey,
    STRIPE_WEBHOOK_SECRET: config.stripe.webhookSecrets.join(','),
    AUTH_JWT_SECRET: config.auth.jwtSecret,
    ...environment,
  };
  return new Promise((resolve) => {
    const command = ['--import', 'tsx', join(ROOT, 'src/cli.ts'), ...args];
    execFile(process.execPath, command, { cwd: ROOT, env }, (error, output, errors) => {
      resolve({ code: error ? Number(error.code) : 0, output, errors });
    });
  });
}

// Each command is a process that begins anew: up to 7 s on two busy cores, and a test runs several.
describe('npm run cli', { timeout: 120_000 }, () => {
  it('keys: makes one that works, lists it without its secret, and revokes it', async () => {
    const made = await cli(['keys', 'create', 'ops', '--scopes', 'read,consume']);
    const { id, key } = JSON.parse(made.output) as { id: string; key: string };
    expect(await verifyApiKey(library.context, key)).toMatchObject({ id, scopes: ['read', 'consume'] });
    const listed = await cli(['keys', 'list']);
    expect(listed.output).toContain(id);
    expect(listed.output).not.toContain(key.split('_').at(-1));
    expect((await cli(['keys', 'revoke', id])).code).toBe(0);
    expect((await cli(['keys', 'list'])).output).not.toContain('"revokedAt": null');
  });

  it('grant: gives once per key, with a reason', async () => {
    const grant = ['grant', 'ada', '10', '--reason', 'sorry', '--key', 'ticket-1'];
    expect(JSON.parse((await cli(grant)).output)).toMatchObject({
      source: 'bonus',
      credits: 10,
      reason: 'sorry',
    });
    expect((await cli(grant)).code).toBe(0);
    expect(await readUsage(library.context, 'ada')).toMatchObject({ credits: 15 });
  });

  it('users: tells what there is to know', async () => {
    expect(JSON.parse((await cli(['users', 'ada'])).output)).toMatchObject({
      user: { userId: 'ada', plan: 'free' },
      subscription: { status: null },
    });
  });

  it('verify: 0 on a sound ledger, 1 and what is wrong on another', async () => {
    expect(await cli(['verify'])).toMatchObject({ code: 0 });
    await library.context.pool.query(
      `update users set available_tokens = available_tokens + 1 where id = 'ada'`,
    );
    const { code, output } = await cli(['verify']);
    await library.context.pool.query(
      `update users set available_tokens = available_tokens - 1 where id = 'ada'`,
    );
    expect(code).toBe(1);
    expect(JSON.parse(output)).toMatchObject({
      violations: [{ invariant: 'invariant_i1_balance', userId: 'ada' }],
    });
  });

  it('rotate-ledger: gives this week indexes of its own, and has nothing to do the next time', async () => {
    const { code, output } = await cli(['rotate-ledger']);
    expect(code).toBe(0);
    expect(JSON.parse(output)).toMatchObject({
      droppedIndexes: ['ledger_entries_key_all', 'ledger_entries_seq_all'],
    });
    expect(JSON.parse((await cli(['rotate-ledger'])).output)).toMatchObject({ createdIndexes: [] });
    expect(await cli(['verify'])).toMatchObject({ code: 0 });
  });

  it('users: shows who is parked, and unparks with a reason once the ledger is sound', async () => {
    const parked = `update users set parked_at = now(), parked_reason = 'I1', debt_tokens = $1 where id = 'ada'`;
    await library.context.pool.query(parked, [1]);
    expect(JSON.parse((await cli(['users', 'ada'])).output)).toMatchObject({ parked: { reason: 'I1' } });
    expect((await cli(['users', 'unpark', 'ada'])).errors).toMatch(/--reason/);
    const unpark = () => cli(['users', 'unpark', 'ada', '--reason', 'mended']);
    expect((await unpark()).errors).toMatch(/not sound yet: invariant_i1_balance/);
    await library.context.pool.query(parked, [0]);
    expect((await unpark()).code).toBe(0);
    expect(JSON.parse((await cli(['users', 'ada'])).output)).toMatchObject({ parked: null });
  });

  it.each([
    [['grant', 'ada', '0', '--reason', 'x'], {}, /whole number of credits/],
    [['grant', 'nobody', '1', '--reason', 'x'], {}, /no such user/],
    [['keys', 'create', 'x', '--scopes', 'everything'], {}, /consume,read,billing,admin/],
    [['verify'], { STRIPE_SECRET_KEY: '' }, /STRIPE_SECRET_KEY: set it/],
    [['verify'], { STRIPE_SECRET_KEY: 'nonsense' }, /must look like sk_test_/],
    [
      ['users', 'ada'],
      { DATABASE_URL: '', TOLLGATE_HOME: '/nowhere' },
      /DATABASE_URL: set it, or run npm start/,
    ],
  ])('%j is refused in words that mend it', async (args, environment, words) => {
    const { code, errors } = await cli(args, environment);
    expect(errors).toMatch(words);
    expect(code).toBe(1);
  });
});
