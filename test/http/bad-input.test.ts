// What is not valid is refused with a problem that names the field, and nothing changes.
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';
import { cases } from './bad-input-table.ts';
import './bad-input-forms.ts';
import './bad-input-routes.ts';

let service: TestService;
let jwt: string;
beforeAll(async () => {
  service = await startService();
  await service.user('victim');
  jwt = await service.token('victim');
  await service.call('GET', '/api/user/usage', { as: jwt });
});
afterAll(() => service.close());

/** Every row that a refused request must leave alone. */
async function fingerprint(): Promise<string> {
  const hash = createHash('sha256');
  for (const table of [
    'users',
    'credit_grants',
    'ledger_entries',
    'holds',
    'user_profiles',
    'workflows',
    'idempotency_records',
    'api_keys',
    'stripe_events',
    'audit_entries',
  ]) {
    const { rows } = await service.context.pool.query(`select t::text as row from ${table} t order by 1`);
    hash.update(`${table}:${rows.map(({ row }) => row).join('\n')}`);
  }
  return hash.digest('hex');
}

describe('bad input', () => {
  it(`holds at least 100 cases (${cases.length})`, () => {
    expect(cases.length).toBeGreaterThanOrEqual(100);
  });

  it.each(cases)('%s | %s', async (_name, request, options, status, field) => {
    const [method = '', path = ''] = request.split(' ');
    const as = path.startsWith('/api/') ? jwt : service.keys.admin;
    const before = await fingerprint();
    const answer = await service.call(method, path, { as, ...options });
    expect(answer.status, answer.text).toBe(status);
    const codes = { 400: 'invalid_request', 413: 'payload_too_large', 415: 'unsupported_media_type' };
    expect(answer.body.code).toBe(codes[status as keyof typeof codes]);
    if (field !== null) {
      const named = answer.body.errors.map(({ path }: { path: string }) => path);
      expect(
        named.some((at: string) => at === field || at.startsWith(`${field}.`)),
        named.join(),
      ).toBe(true);
    }
    expect(await fingerprint()).toBe(before);
  });
});
