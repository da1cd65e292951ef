// A balance and its idempotency keys in Redis, decided by a script: what peers do who answer from a counter. Without
// ledger, grants or periods.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { TollgateError } from '../src/errors.ts';
import type { Route } from '../src/http/route.ts';
import { echo } from './echo.ts';

const SCRIPT = `
  local before = redis.call('get', KEYS[2])
  if before then return before end
  local balance = tonumber(redis.call('get', KEYS[1]) or ARGV[2])
  local tokens = tonumber(ARGV[1])
  if balance < tokens then return -1 end
  redis.call('set', KEYS[1], balance - tokens)
  redis.call('set', KEYS[2], balance - tokens, 'EX', 86400)
  return balance - tokens`;
const START_BALANCE = 1_000_000_000;

export function redisCounter(url: string): Route['handler'] {
  const redis = new Redis(url, { enableAutoPipelining: true });
  redis.defineCommand('take', { numberOfKeys: 2, lua: SCRIPT });
  const take = Reflect.get(redis, 'take') as (...args: (string | number)[]) => Promise<number>;
  return async (_context, { body, change }) => {
    const { userId, tokens } = body as { userId: string; tokens: number };
    const left = await take.call(
      redis,
      `balance:${userId}`,
      `key:${userId}:${change.key}`,
      tokens,
      START_BALANCE,
    );
    if (left < 0) throw new TollgateError('insufficient_credits', 'Too little.');
    return { status: 200, body: echo(tokens) };
  };
}

/** Debian's redis-server with every write on disk before its answer; undefined where there is none. */
export async function startRedis(): Promise<{ url: string; stop(): Promise<void> } | undefined> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-bench-redis-'));
  const settings = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', '', '--bind', '127.0.0.1'];
  const child = spawn('redis-server', ['--port', String(port), '--dir', folder, ...settings], {
    stdio: 'ignore',
  });
  const stop = async (): Promise<void> => {
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    rmSync(folder, { recursive: true, force: true });
  };
  const isThere = await new Promise((resolve) => {
    child.once('error', () => resolve(false));
    child.once('spawn', () => resolve(true));
  });
  if (!isThere) {
    rmSync(folder, { recursive: true, force: true });
    return undefined;
  }
  return { url: `redis://127.0.0.1:${port}`, stop };
}
