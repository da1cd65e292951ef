// Starts the whole service as `npm start` does, waits until it is ready, takes one credit with the key it hands out,
// stops it and expects a clean end. CI runs it on every Node that we promise. The environment chooses the ports.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const DEV_FILE = resolve(ROOT, process.env.TOLLGATE_HOME ?? '.tollgate', 'dev.json');
const READY_MS_MAX = 180_000;
const STOP_MS_MAX = 20_000;

/** Null until dev.json is written and `/readyz` answers 200. */
async function whenReady() {
  if (!existsSync(DEV_FILE)) return null;
  try {
    const dev = JSON.parse(readFileSync(DEV_FILE, 'utf8'));
    const answer = await fetch(new URL('/readyz', dev.url));
    return answer.ok ? dev : null;
  } catch {
    // Not listening yet, or the file is being written: the deadline tells what never comes.
    return null;
  }
}

async function post(dev, path, key, body) {
  const answer = await fetch(new URL(path, dev.url), {
    method: 'POST',
    headers: {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      'idempotency-key': `smoke-${path}-${process.pid}-${Date.now()}`,
    },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`POST ${path} answered ${answer.status}: ${text}`);
  return JSON.parse(text);
}

async function useOnce(child) {
  const deadline = Date.now() + READY_MS_MAX;
  let dev = await whenReady();
  while (dev === null) {
    if (child.exitCode !== null)
      throw new Error(`npm start ended with ${child.exitCode} before it was ready.`);
    if (Date.now() > deadline) throw new Error(`/readyz did not answer 200 within ${READY_MS_MAX / 1000} s.`);
    await delay(100);
    dev = await whenReady();
  }
  const userId = `smoke-${process.pid}-${Date.now()}`;
  await post(dev, '/v1/users', dev.adminApiKey ?? dev.apiKey, { userId });
  const consumed = await post(dev, '/v1/credits/consume', dev.apiKey, { userId, credits: 1 });
  if (consumed.tokensUsed !== 2000 || consumed.creditsRemaining !== 4) {
    throw new Error(`One credit of five was to leave four, but the answer was ${JSON.stringify(consumed)}`);
  }
}

async function stop(child) {
  const since = Date.now();
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
  const [code, signal] = child.exitCode === null ? await once(child, 'exit') : [child.exitCode, null];
  clearTimeout(late);
  if (code !== 0) throw new Error(`SIGTERM was to end it with 0; it ended with ${signal ?? code}.`);
  return Date.now() - since;
}

const started = Date.now();
const child = spawn(process.execPath, [join(ROOT, 'scripts/run.mjs'), 'start'], {
  cwd: ROOT,
  stdio: ['ignore', 'inherit', 'inherit'],
});
try {
  await useOnce(child);
  const readyMs = Date.now() - started;
  const stopMs = await stop(child);
  console.log(`Node ${process.version}: first consume after ${readyMs} ms, stopped in ${stopMs} ms.`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
  if (child.exitCode === null) {
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
}
