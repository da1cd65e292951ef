// The door: signatures, bodies, and what is kept of an event.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findEvent } from '../../src/store/inbox.ts';
import { receiveWebhook } from '../../src/stripe/webhook.ts';
import { Service, sign } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await Service.start();
});
afterAll(() => service.stop());

const eventBody = (fields: object = {}): Buffer =>
  Buffer.from(
    JSON.stringify({
      id: `evt_${randomUUID()}`,
      object: 'event',
      type: 'invoice.paid',
      api_version: '2026-10-28.endive',
      created: 1_795_000_000,
      livemode: false,
      data: {
        object: { id: 'in_1', object: 'invoice', customer: 'cus_1', customer_email: 'person@example.com' },
      },
      ...fields,
    }),
  );
const idOf = (body: Buffer): string => (JSON.parse(body.toString()) as { id: string }).id;
const receive = (body: Buffer, signature: string | undefined): Promise<void> =>
  receiveWebhook(service.context, body, signature);
const count = async (): Promise<number> =>
  (await service.context.pool.query('select count(*) as count from stripe_events')).rows[0].count;

test('a signed event is stored by its ids and woken', async () => {
  const body = eventBody();
  await receive(body, sign(body));
  expect(service.woken.splice(0)).toEqual([{ name: 'handle-stripe-event', eventId: idOf(body) }]);
  expect(await findEvent(service.context.pool, idOf(body))).toMatchObject({
    type: 'invoice.paid',
    objectId: 'in_1',
    customerId: 'cus_1',
    status: 'pending',
    origin: 'webhook',
    deliveries: 1,
  });
  const { rows } = await service.context.pool.query('select * from stripe_events where id = $1', [
    idOf(body),
  ]);
  expect(JSON.stringify(rows)).not.toContain('person@example.com');
  await receive(body, sign(body));
  expect(service.woken.splice(0)).toHaveLength(1);
  expect(await findEvent(service.context.pool, idOf(body))).toMatchObject({ deliveries: 2 });
});

test('either secret of a rotation is good, and one of two signatures is enough', async () => {
  const body = eventBody();
  await receive(body, sign(body, { secret: 'whsec_of_last_year' }));
  const [time, right] = sign(body).split(',');
  await receive(body, `${time},v1=${'0'.repeat(64)},${right}`);
});

const seconds = Date.now() / 1000;
test.each([
  ['no header', () => undefined],
  ['an empty header', () => ''],
  ['a foreign secret', (body: Buffer) => sign(body, { secret: 'whsec_of_nobody' })],
  ['another body', () => sign(eventBody())],
  ['too old', (body: Buffer) => sign(body, { at: seconds - 310 })],
  ['from the future', (body: Buffer) => sign(body, { at: seconds + 400 })],
  ['a year ahead', (body: Buffer) => sign(body, { at: seconds + 31_536_000 })],
  ['no time', (body: Buffer) => sign(body).replace(/^t=\d+,/, '')],
  ['a time that is none', (body: Buffer) => sign(body).replace(/^t=\d+/, 't=now')],
  ['garbage', () => 'v1'],
])('refused and not stored: %s', async (_what, signature) => {
  const body = eventBody();
  const before = await count();
  await expect(receive(body, signature(body))).rejects.toMatchObject({ code: 'invalid_request' });
  expect(await count()).toBe(before);
});

test.each([
  ['null', 'null'],
  ['a list', '[]'],
  ['a number', '7'],
  ['no JSON', '{'],
  ['nothing', ''],
  ['an object that is no event', '{"id": "evt_1"}'],
  ['a thin event', '{"id": "evt_1", "object": "v2.core.event", "type": "v1.invoice.paid"}'],
])('signed, and yet refused: %s', async (_what, text) => {
  const body = Buffer.from(text);
  const before = await count();
  await expect(receive(body, sign(body))).rejects.toMatchObject({ code: 'invalid_request' });
  expect(await count()).toBe(before);
});

test('just inside the tolerance is good', async () => {
  const body = eventBody();
  await receive(body, sign(body, { at: Date.now() / 1000 - 290 }));
  await receive(body, sign(body, { at: Date.now() / 1000 + 290 }));
});

test('an event of the live mode is kept and ignored by a test key', async () => {
  service.woken.splice(0);
  const body = eventBody({ livemode: true });
  await receive(body, sign(body));
  expect(service.woken).toEqual([]);
  expect(await findEvent(service.context.pool, idOf(body))).toMatchObject({ status: 'ignored' });
});

test('an object without id is an event all the same', async () => {
  const body = eventBody({
    type: 'invoice.upcoming',
    data: { object: { object: 'invoice', customer: { id: 'cus_2' } } },
  });
  await receive(body, sign(body));
  await service.work();
  expect(await findEvent(service.context.pool, idOf(body))).toMatchObject({
    objectId: null,
    customerId: 'cus_2',
    status: 'ignored',
  });
});
