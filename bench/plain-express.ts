// What most people would build: Express on `app.listen`, with the usual packages for what our server does before and
// after the work of a route: request ids, a log line, security headers, the key, a rate limit, the body, its schema.
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import helmet from 'helmet';
import { pino } from 'pino';
import { pinoHttp } from 'pino-http';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { z } from 'zod';
import { echo } from './echo.ts';

const body = z.strictObject({
  userId: z.string().max(255),
  tokens: z.int().min(1),
  metadata: z.record(z.string(), z.unknown()).optional(),
});

export function plainExpress(apiKey: string): Promise<number> {
  const keyHash = createHash('sha256').update(apiKey).digest();
  const limiter = new RateLimiterMemory({ points: 1_000_000, duration: 1 });
  const app = express();
  app.use(requestLog());
  app.use(helmet());
  app.use(async (request, response, next) => {
    const key = request.headers.authorization?.slice('Bearer '.length) ?? '';
    const hash = createHash('sha256').update(key).digest();
    if (!timingSafeEqual(hash, keyHash)) {
      response.status(401).json({ code: 'unauthenticated' });
      return;
    }
    await limiter.consume(key);
    next();
  });
  app.use(express.json({ limit: '100kb' }));
  app.post('/v1/credits/consume', (request, response) => {
    const parsed = body.safeParse(request.body);
    if (!parsed.success || request.get('idempotency-key') === undefined) {
      response.status(400).json({ code: 'invalid_request' });
      return;
    }
    response.json(echo(parsed.data.tokens));
  });
  return new Promise((resolve) => {
    const server = app.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

/** The fields of our own line, by pino-http. */
function requestLog() {
  return pinoHttp({
    logger: pino(),
    genReqId: (_request, response) => {
      const id = randomUUID();
      response.setHeader('X-Request-Id', id);
      return id;
    },
    wrapSerializers: false,
    serializers: {
      req: ({ id, method, url, socket }: IncomingMessage) => ({
        id,
        method,
        path: url,
        remoteAddress: socket.remoteAddress,
      }),
      res: (response: ServerResponse) => ({ status: response.statusCode }),
    },
  });
}
