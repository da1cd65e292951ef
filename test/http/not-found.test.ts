// What is not there, or not the caller's, is one answer.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;
let call: TestService['call'];
let keys: TestService['keys'];
beforeAll(async () => {
  service = await startService();
  ({ call, keys } = service);
});
afterAll(() => service.close());

const get = (path: string) => call('GET', path, { as: keys.read });
const grant = (userId: string, body: Record<string, unknown>, key?: string) =>
  call('POST', `/v1/users/${userId}/grants`, {
    as: keys.admin,
    body: { source: 'bonus', reason: 'a test', ...body },
    ...(key === undefined ? {} : { key }),
  });

describe('unknown users and things', () => {
  it.each([
    ['GET', '/v1/users/nobody'],
    ['GET', '/v1/users/nobody/usage'],
    ['GET', '/v1/users/nobody/ledger'],
    ['GET', '/v1/users/nobody/usage?at=2026-01-01T00:00:00Z'],
    ['GET', '/v1/users/nobody/ledger/le_1_bm9ib2R5'],
    ['GET', '/v1/users/nobody/grants'],
    ['GET', '/v1/users/nobody/subscription'],
    ['DELETE', '/v1/users/nobody/profile'],
    ['POST', '/v1/credits/consume', { userId: 'nobody' }],
    ['POST', '/v1/credits/check', { userId: 'nobody' }],
    ['POST', '/v1/credits/holds', { userId: 'nobody' }],
    ['POST', '/v1/credits/refund', { entryId: 'le_1_bm9ib2R5', reason: 'r' }],
    ['POST', '/v1/credits/refund', { entryId: 'nonsense', reason: 'r' }],
    ['POST', '/v1/credits/holds/hold_00ffffffffffffffffffffffffffffffff/capture', {}],
    ['POST', '/v1/credits/holds/nonsense/release', {}],
    ['POST', '/v1/users/nobody/grants', { credits: 1, source: 'bonus', reason: 'r' }],
    ['POST', '/v1/users/nobody/grants/gr_1/void', { reason: 'r' }],
    ['POST', '/v1/users/nobody/plan', { plan: 'pro' }],
    ['POST', '/v1/billing/checkout', { userId: 'nobody', plan: 'pro' }],
    ['POST', '/v1/billing/portal', { userId: 'nobody' }],
    ['POST', '/v1/billing/preview', { userId: 'nobody', plan: 'pro' }],
    ['POST', '/v1/billing/change', { userId: 'nobody', plan: 'pro' }],
    ['POST', '/v1/billing/cancel', { userId: 'nobody' }],
    ['POST', '/v1/billing/resume', { userId: 'nobody' }],
    ['GET', '/v1/admin/stripe-events/evt_none'],
    ['POST', '/v1/admin/stripe-events/evt_none/replay', {}],
    ['DELETE', '/v1/admin/api-keys/key_none'],
    ['GET', '/v1/users/user-1/usage/more'],
    ['GET', '/v1/finance/reconciliations/nonsense'],
    ['GET', '/v1/finance/nothing'],
    ['GET', '/metrics/of-somebody'],
  ])('404: %s %s', async (method, path, body?: unknown) => {
    const answer = await call(method, path, { as: keys.admin, ...(body ? { body } : {}) });
    expect([answer.status, answer.body.code]).toEqual([404, 'not_found']);
  });

  it('does not explain an entry that is unknown or of another user', async () => {
    const [one, other] = [await service.user(), await service.user()];
    const entryIdOf = async (userId: string) =>
      (await get(`/v1/users/${userId}/ledger`)).body.data[0].entryId as string;
    const [own, foreign] = [await entryIdOf(one), await entryIdOf(other)];
    expect((await get(`/v1/users/${one}/ledger/${own}`)).status).toBe(200);
    const unknown = own.replace('le_1_', 'le_2_');
    const answers = [];
    for (const entryId of [foreign, unknown, 'nonsense', `${own}=`]) {
      const { status, body } = await get(`/v1/users/${one}/ledger/${entryId}`);
      answers.push([status, body.detail]);
    }
    expect(answers).toEqual(Array(4).fill([404, 'There is no such ledger entry.']));
  });

  it("cannot void another user's grant", async () => {
    const [one, other] = [await service.user(), await service.user()];
    const { body } = await grant(one, { credits: 1 });
    const path = (userId: string) => `/v1/users/${userId}/grants/${body.grantId}/void`;
    const foreign = await call('POST', path(other), { as: keys.admin, body: { reason: 'r' } });
    expect(foreign.status).toBe(404);
    expect((await get(`/v1/users/${one}/usage`)).body.credits).toBe(6);
  });
});
