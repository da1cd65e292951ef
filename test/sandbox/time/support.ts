import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect } from 'vitest';
import { type Sandbox, type SandboxOptions, startSandbox } from '../../../src/sandbox/index.ts';
import { client, Receiver } from '../harness.ts';

export const HOUR = 3600;
export const DAY = 86_400;
export const SECRET = 'whsec_test_of_the_sandbox';

export const PRICES: SandboxOptions['prices'] = [
  { lookupKey: 'pro_monthly', productName: 'Pro', unitAmount: 2000, currency: 'usd', interval: 'month' },
  { lookupKey: 'pro_annual', productName: 'Pro', unitAmount: 20_000, currency: 'usd', interval: 'year' },
];

type Json = Record<string, unknown>;

export function controlOf(sandbox: Sandbox) {
  return async (path: string, body: unknown = {}): Promise<Json> => {
    const response = await fetch(`${sandbox.url}/_sandbox${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
    });
    const answer = (await response.json()) as Json;
    if (!response.ok) throw Object.assign(new Error(JSON.stringify(answer)), { status: response.status });
    return answer;
  };
}

const stops: (() => Promise<void> | void)[] = [];
const errors: unknown[] = [];

afterEach(async () => {
  for (let stop = stops.pop(); stop; stop = stops.pop()) await stop();
  expect(errors.splice(0)).toEqual([]);
});

/** A sandbox that ends with the test; its wall clock stands at `at` until the test moves it. */
export async function start(at: string, options: Partial<SandboxOptions> = {}) {
  const time = { wallMs: Date.parse(at) };
  const sandbox = await startSandbox({
    port: 0,
    wallClock: () => time.wallMs,
    prices: PRICES,
    webhookEndpoints: [],
    onError: (error) => errors.push(error),
    ...options,
  });
  let open = true;
  const close = async (): Promise<void> => {
    if (open) await sandbox.close();
    open = false;
  };
  stops.push(close);
  const stripe = client(sandbox.url);
  const price = async (key: string): Promise<string> =>
    (await stripe.prices.list({ lookup_keys: [key] })).data[0]!.id;
  return { sandbox, stripe, time, close, price, control: controlOf(sandbox) };
}

export async function receiver(): Promise<Receiver & { url: string }> {
  const made = new Receiver();
  const url = await made.start(client('http://127.0.0.1:1'));
  stops.push(() => made.stop());
  return Object.assign(made, { url });
}

export function temporaryFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-sandbox-'));
  stops.push(() => rmSync(folder, { recursive: true }));
  return join(folder, 'home', 'sandbox.json');
}

export const iso = (seconds: number): string => new Date(seconds * 1000).toISOString();
export const seconds = (instant: string): number => Date.parse(instant) / 1000;
