import { expect, test } from 'vitest';
import { client } from '../harness.ts';
import { start } from './support.ts';

const NOW = '2027-06-15T08:00:00.000Z';

test('a 429 does nothing, says that it may be tried again, and the official client does', async () => {
  const { sandbox, stripe, control } = await start(NOW);
  for (const [fault, code] of [
    ['rateLimitRate', 'rate_limit'],
    ['lockTimeoutRate', 'lock_timeout'],
  ] as const) {
    await control('/faults', { [fault]: 1 });
    const refused = stripe.customers.create({ name: code });
    await expect(refused).rejects.toMatchObject({ statusCode: 429, code, type: 'StripeRateLimitError' });
    await expect(refused).rejects.toMatchObject({ headers: { 'stripe-should-retry': 'true' } });
    await control('/faults', { [fault]: 0.6, seed: 3 });
    const persistent = client(sandbox.url, { maxNetworkRetries: 5 });
    expect((await persistent.customers.create({ name: code })).name).toBe(code);
    await control('/faults', { [fault]: 0 });
    expect((await stripe.customers.list()).data.filter(({ name }) => name === code)).toHaveLength(1);
  }
});

test('a 500 after the commit keeps the change, and its key keeps the 500', async () => {
  const { stripe, control } = await start(NOW);
  await control('/faults', { errorAfterCommitRate: 1 });
  const create = () => stripe.customers.create({ name: 'there' }, { idempotencyKey: 'once' });
  await expect(create()).rejects.toMatchObject({ statusCode: 500 });
  await control('/faults', { errorAfterCommitRate: 0 });
  await expect(create()).rejects.toMatchObject({ statusCode: 500 });
  expect((await stripe.customers.list()).data.map(({ name }) => name)).toEqual(['there']);
});

test('one seed gives the same faults again', async () => {
  const { stripe, control } = await start(NOW);
  const run = async (seed: number) => {
    await control('/faults', { seed, errorRate: 0.3, rateLimitRate: 0.3, lockTimeoutRate: 0.3 });
    const seen: string[] = [];
    for (let index = 0; index < 20; index += 1)
      seen.push(
        await stripe.customers.create().then(
          () => 'ok',
          (error: { code?: string; statusCode?: number }) => error.code ?? String(error.statusCode),
        ),
      );
    return seen;
  };
  const first = await run(5);
  expect(new Set(first)).toEqual(new Set(['ok', '500', 'rate_limit', 'lock_timeout']));
  expect(await run(5)).toEqual(first);
  expect(await run(6)).not.toEqual(first);
});

test('idempotency keys have a length, and one in use says so', async () => {
  const { stripe, control } = await start(NOW);
  await expect(stripe.customers.create({}, { idempotencyKey: 'k'.repeat(256) })).rejects.toMatchObject({
    type: 'StripeIdempotencyError',
  });
  await control('/faults', { latencyMs: 50 });
  const both = await Promise.allSettled([
    stripe.customers.create({}, { idempotencyKey: 'k' }),
    stripe.customers.create({}, { idempotencyKey: 'k' }),
  ]);
  expect(both.map((one) => one.status).toSorted()).toEqual(['fulfilled', 'rejected']);
  expect(both.find((one) => one.status === 'rejected')?.reason).toMatchObject({
    statusCode: 409,
    code: 'idempotency_key_in_use',
  });
});
