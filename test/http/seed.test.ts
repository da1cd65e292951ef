// The seed's routes, word for word as the seed has them.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const START = '/api/projects/start-workflow';

describe('GET /api/user/usage', () => {
  it('gives an unknown but authenticated user five credits, once', async () => {
    const as = await service.token('seed-new');
    const first = await service.call('GET', '/api/user/usage', { as });
    expect(first.status).toBe(200);
    expect(first.body).toEqual({
      success: true,
      data: {
        credits: 5,
        totalTokens: 10_000,
        availableTokens: 10_000,
        isSubscribed: false,
        subscriptionTier: 'free',
        totalTokensUsed: 0,
        monthlyTokensUsed: 0,
        monthlyResetDate: '2026-03-10T12:00:00.000Z',
        nextResetAt: '2026-04-10T12:00:00.000Z',
        subscriptionEndsAt: null,
      },
    });
    const again = await service.call('GET', '/api/user/usage', { as });
    expect(again.body).toEqual(first.body);
  });

  it('signs a user up once when its first calls come at the same time', async () => {
    const as = await service.token('seed-parallel');
    const calls = Array.from({ length: 12 }, () => service.call('GET', '/api/user/usage', { as }));
    for (const { status, body } of await Promise.all(calls)) {
      expect(status).toBe(200);
      expect(body.data.totalTokens).toBe(10_000);
    }
  });
});

describe('POST /api/projects/start-workflow', () => {
  it('takes one credit, starts the work and says what is left', async () => {
    const as = await service.token('seed-workflow');
    const { status, body } = await service.call('POST', START, { as, body: { projectId: 'abc123' } });
    expect(status).toBe(200);
    expect(body).toEqual({
      success: true,
      workflowStarted: true,
      workflowId: expect.stringMatching(/^wf_/),
      creditInfo: { tokensUsed: 2000, creditsRemaining: 4, totalTokensUsed: 2000 },
    });
    expect(service.jobs.woken).toContainEqual({ name: 'run-workflow', workflowId: body.workflowId });
    const work = await service.call('GET', `/api/workflows/${body.workflowId}`, { as });
    expect(work.body).toMatchObject({
      workflowId: body.workflowId,
      kind: 'code_generation',
      status: 'pending',
    });
  });

  it('answers 429 at zero, as the seed has it and as a problem, and starts nothing', async () => {
    const as = await service.token('seed-empty');
    for (let left = 4; left >= 0; left--) {
      const { body } = await service.call('POST', START, { as, body: { projectId: 'p' } });
      expect(body.creditInfo.creditsRemaining).toBe(left);
    }
    const wokenBefore = service.jobs.woken.length;
    const denied = await service.call('POST', START, { as, body: { projectId: 'p' } });
    expect(denied.status).toBe(429);
    expect(denied.body).toMatchObject({
      error: 'Insufficient credits',
      detail: 'You have 0 credits remaining (0 tokens)',
      status: 429,
      code: 'insufficient_credits',
      requiredTokens: 2000,
      availableTokens: 0,
      heldTokens: 0,
      credits: 0,
      resetsAt: '2026-04-10T12:00:00.000Z',
      upgradeUrl: 'http://tollgate.test/v1/plans',
    });
    expect(denied.headers.get('retry-after')).toBeNull();
    expect(service.jobs.woken).toHaveLength(wokenBefore);
  });

  it('answers a repeated key with the first answer and takes nothing again', async () => {
    const as = await service.token('seed-repeat');
    const request = { as, key: 'once', body: { projectId: 'p' } };
    const first = await service.call('POST', START, request);
    const again = await service.call('POST', START, request);
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(again.body).toEqual(first.body);
    const usage = await service.call('GET', '/api/user/usage', { as });
    expect(usage.body.data.credits).toBe(4);
  });

  it('takes one credit per call where there is no key', async () => {
    const as = await service.token('seed-no-key');
    for (const creditsRemaining of [4, 3]) {
      const { body } = await service.call('POST', START, { as, key: null, body: { projectId: 'p' } });
      expect(body.creditInfo.creditsRemaining).toBe(creditsRemaining);
    }
  });
});

describe('POST /api/review/generate', () => {
  it.each([{ projectId: 'abc123' }, { code: 'let x = 1;' }])('takes one credit for %o', async (body) => {
    const as = await service.token(`seed-review-${Object.keys(body)[0]}`);
    const answer = await service.call('POST', '/api/review/generate', { as, body });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      success: true,
      reviewStarted: true,
      reviewId: expect.stringMatching(/^wf_/),
      creditInfo: { tokensUsed: 2000, creditsRemaining: 4, totalTokensUsed: 2000 },
    });
  });
});

describe('GET /api/workflows/{id}', () => {
  it("answers another user's work like work that is not there", async () => {
    const owner = await service.token('seed-owner');
    const { body } = await service.call('POST', START, { as: owner, body: { projectId: 'p' } });
    const as = await service.token('seed-stranger');
    const foreign = await service.call('GET', `/api/workflows/${body.workflowId}`, { as });
    const unknown = await service.call('GET', '/api/workflows/wf_00000000000000000000000000000000', { as });
    expect(foreign.status).toBe(404);
    const { requestId: _a, instance: _b, ...seen } = foreign.body;
    const { requestId: _c, instance: _d, ...expected } = unknown.body;
    expect(seen).toEqual(expected);
  });
});
