// However a client sends its JSON, the same is read; and what is cut off changes nothing.
import { once } from 'node:events';
import { request as send } from 'node:http';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;
beforeAll(async () => {
  service = await startService();
  await service.call('POST', '/v1/users', { as: service.keys.admin, body: { userId: 'ada', plan: 'pro' } });
});
afterAll(() => service.close());

const TEXT = JSON.stringify({ userId: 'ada', metadata: { note: 'é 🎟' } });

let keys = 0;

async function consume(
  sent: Buffer,
  headers: Record<string, string | number>,
): Promise<{ status: number | undefined; body: Record<string, unknown> }> {
  const request = send({
    port: service.listening.port,
    method: 'POST',
    path: '/v1/credits/consume',
    headers: {
      authorization: `Bearer ${service.keys.admin}`,
      'content-type': 'application/json',
      'idempotency-key': `body-${keys++}`,
      ...headers,
    },
  });
  request.end(sent);
  const [response] = await once(request, 'response');
  let text = '';
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode, body: JSON.parse(text) };
}

const bytes = Buffer.from(TEXT);
const marked = Buffer.concat([Buffer.from('\ufeff'), bytes]);
const packed = gzipSync(bytes);
const long = Buffer.from(`{${' '.repeat(90_000)}${TEXT.slice(1)}`);

it.each<[string, Buffer, Record<string, string | number>]>([
  ['of a known length', bytes, { 'content-length': bytes.length }],
  ['of more than one read from the socket', long, { 'content-length': long.length }],
  ['of a length that is not known before', bytes, { 'transfer-encoding': 'chunked' }],
  ['with a byte order mark', marked, { 'content-length': marked.length }],
  [
    'that names its charset',
    bytes,
    { 'content-length': bytes.length, 'content-type': 'application/json; charset=UTF-8' },
  ],
  ['that is compressed', packed, { 'content-length': packed.length, 'content-encoding': 'gzip' }],
])('a body %s is read', async (_, sent, headers) => {
  const { status, body } = await consume(sent, headers);
  expect([status, body.tokensUsed]).toEqual([200, 2_000]);
});

it('what was read is what was sent', async () => {
  const { body } = await service.call('GET', '/v1/users/ada/ledger', { as: service.keys.admin });
  const entries = body.data as { type: string; metadata?: unknown }[];
  expect(entries.filter(({ type }) => type === 'consumed')).toHaveLength(6);
  const { rows } = await service.context.pool.query(
    `select distinct metadata from ledger_entries where type = 'consumed'`,
  );
  expect(rows).toEqual([{ metadata: { note: 'é 🎟' } }]);
});

it('a body that ends too early takes nothing, and the next request is answered', async () => {
  const socket = connect(service.listening.port, '127.0.0.1');
  const head = [
    'POST /v1/credits/consume HTTP/1.1',
    'Host: test',
    `Authorization: Bearer ${service.keys.admin}`,
    'Content-Type: application/json',
    `Content-Length: ${bytes.length}`,
    'Idempotency-Key: cut-off',
  ].join('\r\n');
  await new Promise((resolve) => socket.write(`${head}\r\n\r\n${TEXT.slice(0, 5)}`, resolve));
  socket.destroy();
  await once(socket, 'close');
  expect((await service.call('GET', '/healthz')).status).toBe(200);
  const { rows } = await service.context.pool.query(
    `select key from ledger_entries where key = 'consume:cut-off'`,
  );
  expect(rows).toEqual([]);
});
