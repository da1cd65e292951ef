import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Sandbox, startSandbox } from '../../../src/sandbox/index.ts';
import { Cli } from './cli.ts';

const text = readFileSync(new URL('../../../docs/sandbox.md', import.meta.url), 'utf8');
const [, block = ''] = /```sh\n([\s\S]*?)```/.exec(text) ?? [];
const commands = block.split('\n').filter((line) => line.startsWith('sandbox '));

let sandbox: Sandbox;
let cli: Cli;
beforeAll(async () => {
  sandbox = await startSandbox({
    port: 0,
    prices: [
      { lookupKey: 'pro_monthly', productName: 'Pro', unitAmount: 2000, currency: 'usd', interval: 'month' },
    ],
    webhookEndpoints: [],
  });
  cli = new Cli(sandbox.url);
});
afterAll(async () => {
  cli.stop();
  await sandbox.close();
});

test('the document has commands', () => {
  expect(commands.length).toBeGreaterThan(5);
  expect(block).toContain('--api-base http://127.0.0.1:12111 --api-key sk_test_sandbox0');
});

test.each(commands)('%s', async (command) => {
  const words = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
  const { code, out } = await cli.run(...words.slice(1));
  expect(code, out).toBe(0);
  expect(out).not.toMatch(/"error"|Trigger failed/);
});
