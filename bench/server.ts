// One server under test, a process of its own: the real API, or the real API with the work of `consume` replaced, or
// what it is compared with. Told by its first message, answers with its port.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { configOf, readCatalogue, readEnvironment } from '../src/config.ts';
import { openContext } from '../src/context.ts';
import { serve } from '../src/http/listen.ts';
import type { Route } from '../src/http/route.ts';
import { routes } from '../src/http/routes/index.ts';
import { echo } from './echo.ts';
import { consumeInPrismaTransaction } from './naive.ts';
import { plainExpress } from './plain-express.ts';
import { redisCounter } from './redis.ts';

export type ServerKind =
  /** The API as it is. */
  | 'consume'
  /** The API, its consume answering without deciding anything. */
  | 'echo'
  /** An ordinary Express application with middlewares that do the same, answering without deciding anything. */
  | 'express-echo'
  /** Node's own server answering the same bodies, and nothing else. */
  | 'node-echo'
  /** The API, its consume a Prisma `$transaction`: read, check, update, insert. */
  | 'naive'
  /** The API, its consume a counter in Redis. */
  | 'redis';

export interface ServerJob {
  kind: ServerKind;
  apiKey: string;
  environment: Record<string, string>;
  /** Of the counter; the service itself has its queue in PostgreSQL. */
  redisUrl?: string | undefined;
}

/** What a server tells when it is asked. */
export interface Questions {
  /** What it has used so far. */
  cpuMicroseconds: number;
  /** After it has collected its garbage, which costs the consumes of the next seconds a fifteenth. */
  residentBytes: number;
}

function consumeRoute(): Route {
  const found = routes.find(({ path }) => path === '/v1/credits/consume');
  if (!found) throw new Error('There is no /v1/credits/consume.');
  return found;
}

const work: Partial<Record<ServerKind, (redisUrl: string) => Route['handler']>> = {
  echo: () => () => ({ status: 200, body: echo(10) }),
  naive: () => consumeInPrismaTransaction,
  redis: redisCounter,
};

async function start({ kind, apiKey, environment, redisUrl = '' }: ServerJob): Promise<number> {
  const settings = readEnvironment(environment);
  if (kind === 'node-echo') return nodeEcho();
  if (kind === 'express-echo') return plainExpress(apiKey);
  const context = await openContext({ config: configOf(settings), catalogue: readCatalogue(settings) });
  const handler = work[kind]?.(redisUrl);
  if (handler) consumeRoute().handler = handler;
  const { port } = await serve(context, { port: 0, host: '127.0.0.1' });
  return port;
}

function nodeEcho(): Promise<number> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { tokens } = JSON.parse(Buffer.concat(chunks).toString()) as { tokens: number };
      const body = JSON.stringify(echo(tokens));
      response.writeHead(200, {
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(body),
      });
      response.end(body);
    });
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

const answers: { [Question in keyof Questions]: () => number } = {
  cpuMicroseconds() {
    const { user, system } = process.cpuUsage();
    return user + system;
  },
  residentBytes() {
    global.gc?.();
    return process.memoryUsage.rss();
  },
};

process.on('message', (message: ServerJob | keyof Questions) => {
  if (typeof message === 'string') {
    process.send?.(answers[message]());
    return;
  }
  start(message).then(
    (port) => process.send?.({ port }),
    (error: unknown) => {
      process.stderr.write(
        `server ${message.kind}: ${error instanceof Error ? error.stack : String(error)}\n`,
      );
      process.exit(1);
    },
  );
});
process.on('disconnect', () => process.exit(0));
