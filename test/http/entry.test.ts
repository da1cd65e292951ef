// `npm run serve` as a process: refuses to start with a line per setting, stops with 0.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createTestDatabase } from '../support/database.ts';
import { JWT_SECRET, WEBHOOK_SECRET } from '../support/service.ts';

function start(environment: Record<string, string>) {
  const { PATH = '' } = process.env;
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/server.ts'], {
    env: { PATH, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    output.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    output.stderr += chunk;
  });
  return { child, output, ended: once(child, 'exit') };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

const settings = {
  STRIPE_SECRET_KEY: 'sk_test_unreachable',
  STRIPE_API_BASE: 'http://127.0.0.1:1',
  STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET,
  AUTH_JWT_SECRET: JWT_SECRET,
};

describe('src/server.ts', () => {
  it('says what to set, one line each, and ends with 1', async () => {
    const { output, ended } = start({ STRIPE_SECRET_KEY: 'sk_test_x', AUTH_JWT_SECRET: '' });
    expect((await ended)[0]).toBe(1);
    expect(output.stderr).toMatch(/^DATABASE_URL: .+\nSTRIPE_WEBHOOK_SECRET: .+\nAUTH_JWT_SECRET or .+\n$/);
  });

  it('ends with 1 where the database does not answer', async () => {
    const { output, ended } = start({ ...settings, DATABASE_URL: 'postgresql://u:hidden@127.0.0.1:1/none' });
    expect((await ended)[0]).toBe(1);
    expect(output.stderr).toMatch(
      /^DATABASE_URL: no PostgreSQL to use at 127\.0\.0\.1:1 .*ECONNREFUSED.*start it or correct/,
    );
    expect(output.stderr).not.toContain('hidden');
  });

  it('serves until SIGTERM and ends with 0', async () => {
    const database = await createTestDatabase();
    const port = await freePort();
    const { child, output, ended } = start({ ...settings, DATABASE_URL: database.url, PORT: String(port) });
    try {
      let status = 0;
      for (let tries = 0; tries < 200 && status !== 200 && child.exitCode === null; tries++) {
        await delay(100);
        status = await fetch(`http://127.0.0.1:${port}/readyz`).then(
          (response) => response.status,
          () => 0,
        );
      }
      expect(status, output.stderr + output.stdout).toBe(200);
      child.kill('SIGTERM');
      // A stop that takes longer than its 20 s ends itself with 1.
      expect(await ended).toEqual([0, null]);
    } finally {
      child.kill('SIGKILL');
      await database.drop();
    }
  }, 60_000);
});
