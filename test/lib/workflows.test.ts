// Work that the seed routes start: paid before it starts, run by the host app, refunded if it fails.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../../src/context.ts';
import { refund } from '../../src/lib/refunds.ts';
import { readUsage, signUp } from '../../src/lib/users.ts';
import { readWorkflow, runWorkflow, startWorkflow } from '../../src/lib/workflows.ts';
import { entryIdOf } from '../../src/store/ids.ts';
import { findViolations } from '../../src/store/invariants.ts';
import { listEntries } from '../../src/store/ledger.ts';
import { type Library, openLibrary } from '../support/library.ts';
import { request } from '../support/request.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

let library: Library;
let runner: Server;
let context: Context;
/** What the runner got, verified, and what it answers. */
const received: unknown[] = [];
let answer = { status: 200, body: 'done' };

beforeAll(async () => {
  library = await openLibrary();
  runner = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      received.push(new Webhook(SECRET).verify(body, request.headers as Record<string, string>));
      response.writeHead(answer.status).end(answer.body);
    });
  });
  await new Promise<void>((resolve) => runner.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(runner.address() as AddressInfo).port}/run`;
  context = {
    ...library.context,
    config: { ...library.context.config, workflowRunner: { url, secret: SECRET } },
  };
});
afterAll(async () => {
  expect(await findViolations(library.context.pool)).toEqual([]);
  runner.close();
  await library.close();
});

let users = 0;
let userId: string;
beforeEach(async () => {
  userId = `worker-${users++}`;
  received.length = 0;
  answer = { status: 200, body: 'done' };
  await signUp(context, { userId });
});

async function start(key = 'start'): Promise<string> {
  const input = { userId, kind: 'code_review' as const, input: { projectId: 'p1' } };
  return String((await startWorkflow(context, input, request(key))).body.workflowId);
}

describe('a workflow', () => {
  it('is paid before it starts, handed over signed, and keeps what the runner said', async () => {
    const workflowId = await start();
    expect(await readUsage(context, userId)).toMatchObject({ credits: 4 });
    expect(library.woken).toContainEqual({ name: 'run-workflow', workflowId });
    await runWorkflow(context, workflowId, { isLast: false });
    expect(received).toEqual([{ workflowId, userId, kind: 'code_review', input: { projectId: 'p1' } }]);
    expect(await readWorkflow(context, userId, workflowId)).toMatchObject({
      status: 'succeeded',
      result: { status: 200, body: 'done' },
    });
  });

  it('started twice with one key is one, and paid once', async () => {
    expect(await start('same')).toBe(await start('same'));
    expect(await readUsage(context, userId)).toMatchObject({ credits: 4 });
  });

  it('runs with the built-in runner where the host app has none', async () => {
    const workflowId = await start();
    await runWorkflow(library.context, workflowId, { isLast: false });
    expect(await readWorkflow(context, userId, workflowId)).toMatchObject({ status: 'succeeded' });
    expect(received).toEqual([]);
  });

  it('that the runner refuses gives its credit back, once, however often the job runs', async () => {
    answer = { status: 422, body: 'no such project' };
    const workflowId = await start();
    for (let run = 0; run < 3; run++) await runWorkflow(context, workflowId, { isLast: false });
    expect(received).toHaveLength(1);
    expect(await readWorkflow(context, userId, workflowId)).toMatchObject({ status: 'failed' });
    expect(await readUsage(context, userId)).toMatchObject({ credits: 5, totalTokensUsed: 0 });
    const entries = await listEntries(context.pool, userId, {
      beforeSeq: Number.MAX_SAFE_INTEGER,
      limit: 10,
    });
    expect(entries.map((entry) => entry.type)).toEqual(['refunded', 'consumed', 'granted']);
  });

  it('that fails gives back what the host app has not given back already, whatever key that took', async () => {
    answer = { status: 422, body: 'no such project' };
    const given = async (tokens: number): Promise<void> => {
      const workflowId = await start(`given-${tokens}`);
      const [entry] = await listEntries(context.pool, userId, {
        beforeSeq: Number.MAX_SAFE_INTEGER,
        limit: 1,
      });
      const entryId = entryIdOf(userId, entry!.seq);
      await refund(context, { entryId, tokens, reason: 'by hand' }, request(workflowId));
      await runWorkflow(context, workflowId, { isLast: false });
      expect(await readWorkflow(context, userId, workflowId)).toMatchObject({ status: 'failed' });
      expect(await readUsage(context, userId)).toMatchObject({ availableTokens: 10_000, totalTokensUsed: 0 });
    };
    await given(2_000);
    await given(500);
  });

  it('whose runner is down is tried again, and given back after the last try', async () => {
    answer = { status: 503, body: '' };
    const workflowId = await start();
    await expect(runWorkflow(context, workflowId, { isLast: false })).rejects.toThrow('answered 503');
    expect(await readUsage(context, userId)).toMatchObject({ credits: 4 });
    await runWorkflow(context, workflowId, { isLast: true });
    expect(await readUsage(context, userId)).toMatchObject({ credits: 5 });
  });

  it('survives an answer that PostgreSQL could not store as it is', async () => {
    answer = { status: 200, body: `a\u0000b${'😀'.repeat(9_999)}` };
    const workflowId = await start();
    await runWorkflow(context, workflowId, { isLast: false });
    const { result } = await readWorkflow(context, userId, workflowId);
    expect((result as { body: string }).body.startsWith('ab😀')).toBe(true);
  });

  it('of somebody else looks like none', async () => {
    const workflowId = await start();
    await expect(readWorkflow(context, 'someone-else', workflowId)).rejects.toMatchObject({
      code: 'not_found',
    });
    await expect(readWorkflow(context, userId, 'wf_nonsense')).rejects.toMatchObject({ code: 'not_found' });
  });
});
