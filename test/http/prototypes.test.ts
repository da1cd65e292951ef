import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import express from 'express';
import { expect, test } from 'vitest';
import { prototypesOf } from '../../src/http/prototypes.ts';
import { startService } from '../support/service.ts';

test('requests and responses have the prototypes that Express would give them, from the start', async () => {
  const app = express();
  app.get('/', (_request, response) => void response.json({ works: true }));
  const before: unknown[] = [];
  const server = createServer(prototypesOf(app), (incoming, response) => {
    before.push(
      Object.getPrototypeOf(incoming) === app.request,
      Object.getPrototypeOf(response) === app.response,
    );
    app(incoming, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const asked = request({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' }).end();
  const [answer] = await once(asked, 'response');
  expect(answer.statusCode).toBe(200);
  expect((await answer.toArray()).join('')).toBe('{"works":true}');
  expect(before).toEqual([true, true]);
  server.close();
});

test('they are no dictionaries once a request has been through the API', async () => {
  setFlagsFromString('--allow-natives-syntax');
  const isFast = new Function('object', 'return %HasFastProperties(object)') as (object: object) => boolean;
  const service = await startService();
  const ended: boolean[] = [];
  const seen = (message: unknown) => {
    const { request, response } = message as { request: object; response: object };
    ended.push(isFast(request), isFast(response));
  };
  subscribe('http.server.response.finish', seen);
  try {
    // The first few of a kind get more room than the others.
    const check = { as: service.keys.consume, body: { userId: 'nobody' } };
    for (let n = 0; n < 20; n++) await service.call('POST', '/v1/credits/check', check);
  } finally {
    unsubscribe('http.server.response.finish', seen);
    await service.close();
  }
  expect(ended).toHaveLength(40);
  expect(ended).not.toContain(false);
});
