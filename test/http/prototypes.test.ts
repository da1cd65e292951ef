import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { expect, test } from 'vitest';
import { prototypesOf } from '../../src/http/prototypes.ts';

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
