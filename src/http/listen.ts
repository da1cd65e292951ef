/** Listens, cuts off what is slow or stuck, and stops without losing a request that is under way. */
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Express } from 'express';
import type { Context } from '../context.ts';
import { TollgateError } from '../errors.ts';
import { createApp, createOpsApp } from './app.ts';
import { requestIdOf } from './logging.ts';
import { problemOf } from './problem.ts';
import { prototypesOf } from './prototypes.ts';
import type { Lifecycle } from './route.ts';

/** Node's own are 60 s, 300 s and 30 s: long enough for a few slow clients to hold every connection. */
const HEADERS_MS_MAX = 10_000;
const REQUEST_MS_MAX = 15_000;
const CHECK_CONNECTIONS_MS = 2_000;
/** Longer than the 60 s after which load balancers drop an idle connection, so that they are the ones to close it. */
const KEEP_ALIVE_MS = 65_000;

/** How long requests under way may take to end once the process has been told to stop. */
const DRAIN_MS_MAX = 10_000;

export interface Listening {
  /** Where it is reached from this machine. */
  url: string;
  port: number;
  opsPort: number | undefined;
  /** Ends within 10 s and a little; the context stays open. Twice is once. */
  stop(): Promise<void>;
}

/**
 * Serves the API, and on config.opsPort the probes if it is set.
 * @param at where to listen; port 0 takes a free one
 */
export async function serve(
  context: Context,
  at: { port: number; host: string } = context.config,
): Promise<Listening> {
  const lifecycle: Lifecycle = { isStopping: false };
  const api = server(context, lifecycle, createApp(context, lifecycle));
  const port = await listen(api, at);
  const { opsPort: wanted } = context.config;
  let ops: Server | undefined;
  let opsPort: number | undefined;
  if (wanted !== undefined) {
    ops = server(context, lifecycle, createOpsApp(context, lifecycle));
    opsPort = await listen(ops, { port: wanted, host: at.host }).catch(async (error: unknown) => {
      await drain(api);
      throw error;
    });
  }
  let stopped: Promise<void> | undefined;
  async function stop(): Promise<void> {
    lifecycle.isStopping = true;
    await drain(api);
    // Last, so that the operator can see it stopping.
    if (ops) await drain(ops);
  }
  return {
    url: `http://${hostInUrl(at.host)}:${port}`,
    port,
    opsPort,
    stop() {
      stopped ??= stop();
      return stopped;
    },
  };
}

function hostInUrl(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}

function server(context: Context, lifecycle: Lifecycle, app: Express): Server {
  const made = createServer(
    {
      ...prototypesOf(app),
      headersTimeout: HEADERS_MS_MAX,
      requestTimeout: REQUEST_MS_MAX,
      connectionsCheckingInterval: CHECK_CONNECTIONS_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    (request, response) => {
      // Tells the client to take another connection, one that leads to a process that goes on.
      if (lifecycle.isStopping) response.setHeader('Connection', 'close');
      app(request, response);
    },
  );
  trackIdle(made, lifecycle);
  made.on('clientError', (error: NodeJS.ErrnoException, socket) => refuseBytes(context, error, socket));
  // An `Expect` that is not 100-continue asks for nothing that we know: answered as if it were not there.
  made.on('checkExpectation', app);
  return made;
}

async function listen(server: Server, { port, host }: { port: number; host: string }): Promise<number> {
  server.listen(port, host);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

const MALFORMED = {
  HPE_HEADER_OVERFLOW: ['payload_too_large', 'The headers are larger than 16 kB.'],
  ERR_HTTP_REQUEST_TIMEOUT: [
    'invalid_request',
    `The request was not complete within ${REQUEST_MS_MAX / 1000} s.`,
  ],
} as const;

/** What never became a request has no response object: the answer is written by hand, in the same form. */
function refuseBytes(context: Context, error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const known = Object.entries(MALFORMED).find(([code]) => code === error.code)?.[1];
  const [code, detail] = known ?? ['invalid_request', 'This is not an HTTP/1.1 request.'];
  const requestId = requestIdOf(undefined);
  const problem = problemOf(new TollgateError(code, detail), {
    publicUrl: context.config.publicUrl,
    instance: '/',
    requestId,
    isSeedRoute: false,
  });
  const body = JSON.stringify(problem);
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    'Content-Type: application/problem+json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: ${requestId}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

const idleSockets = new WeakMap<Server, Set<Socket>>();

/**
 * Keeps the connections without a request under way. Node's own closeIdleConnections() leaves those that have never
 * sent one (a browser opens them ahead of time), and close() would wait for each.
 */
function trackIdle(server: Server, lifecycle: Lifecycle): void {
  const idle = new Set<Socket>();
  idleSockets.set(server, idle);
  server.on('connection', (socket) => {
    idle.add(socket);
    socket.once('close', () => idle.delete(socket));
  });
  // One function for all of them, on the hot path of every request.
  function becomesIdle(this: ServerResponse): void {
    const { socket } = this.req;
    if (lifecycle.isStopping) socket.end();
    else if (!socket.destroyed) idle.add(socket);
  }
  server.on('request', ({ socket }, response) => {
    idle.delete(socket);
    response.on('close', becomesIdle);
  });
}

/** Accepts nothing new, lets what is under way end, and after 10 s cuts it off. */
async function drain(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  for (const socket of idleSockets.get(server) ?? []) socket.destroy();
  const late = setTimeout(() => server.closeAllConnections(), DRAIN_MS_MAX);
  try {
    await closed;
  } finally {
    clearTimeout(late);
  }
}
