import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Harness, startHarness } from '../harness.ts';

const PATH = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';
const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const found = existsSync(PATH);

/** Set by .ci/run once it has brought Chromium: from then on a browser that is not found is a failure. */
const isRequired = process.env.TOLLGATE_REQUIRES_CHROMIUM !== undefined;

/** On a machine without Chromium these tests are counted as skipped. */
export const inBrowser = found || isRequired ? test : test.skip;

export interface Visitor {
  harness: Harness;
  page: Page;
  /** Where people come from and go back to. */
  shop: string;
}

async function launch(): Promise<Browser> {
  if (!found)
    throw new Error(
      `No Chromium at ${PATH}: apt-get install --yes chromium, or set CHROMIUM_PATH to a browser's path.`,
    );
  return chromium.launch({ executablePath: PATH, args: ARGS });
}

/** A browser for a file, a sandbox and a page for each of its tests; call what it returns inside a test. */
export function useVisitor(): () => Visitor {
  let browser: Browser | undefined;
  let visitor: Visitor | undefined;
  let broken: string[] = [];
  const shop = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Shop</h1>');
  });
  beforeAll(async () => {
    await new Promise<void>((resolve) => shop.listen(0, '127.0.0.1', resolve));
    if (found || isRequired) browser = await launch();
  });
  beforeEach(async () => {
    if (browser === undefined) return;
    broken = [];
    const page = await browser.newPage({ viewport: { width: 1000, height: 900 } });
    page.setDefaultTimeout(10_000);
    page.on('pageerror', (error) => broken.push(String(error)));
    page.on('requestfailed', (request) => broken.push(request.url()));
    page.on('console', (message) => {
      if (message.type() === 'error' && !message.text().includes('favicon')) broken.push(message.text());
    });
    const url = `http://127.0.0.1:${(shop.address() as AddressInfo).port}`;
    visitor = { harness: await startHarness(), page, shop: url };
  });
  afterEach(async () => {
    const { page, harness } = visitor ?? {};
    visitor = undefined;
    await page?.close();
    await harness?.stop();
    expect(harness?.errors ?? []).toEqual([]);
    expect(broken).toEqual([]);
  });
  afterAll(async () => {
    await browser?.close();
    shop.closeAllConnections();
    await new Promise((resolve) => shop.close(resolve));
  });
  return () => {
    if (visitor === undefined) throw new Error('no visitor outside a test');
    return visitor;
  };
}

/** Every control of the present page has a name that a screen reader can say. */
export async function expectNamedControls(page: Page): Promise<void> {
  const nameless = await page
    .locator('input:not([type=hidden]), select, textarea, button, a')
    .evaluateAll((controls) =>
      controls
        .filter((one) => {
          const labels = 'labels' in one ? (one.labels as { length: number } | null) : null;
          return (labels?.length ?? 0) === 0 && (one.textContent ?? '').trim() === '';
        })
        .map((one) => one.outerHTML),
    );
  expect(nameless).toEqual([]);
}
