import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { seedAccount, seedSchema } from './catalogue.ts';
import { eventSinks } from './cli/sinks.ts';
import { openCliTunnel } from './cli/tunnel.ts';
import { Clock } from './clock.ts';
import { Deliverer } from './delivery.ts';
import { Faults } from './http/faults.ts';
import { IdempotencyKeys } from './http/idempotency.ts';
import { requestListener } from './http/server.ts';
import { State } from './state.ts';
import { Timeline } from './timeline.ts';
import { World } from './world.ts';

const TICK_MS = 1000;

export interface SandboxOptions {
  /** 0 = any free port. */
  port: number;
  host?: string;
  /** Milliseconds; virtual time is this plus an offset. Tests may freeze it. */
  wallClock?: () => number;
  /** The catalogue at start and after a reset; without an interval a price is one-time. */
  prices: readonly {
    lookupKey: string;
    productName: string;
    unitAmount: number;
    currency: string;
    interval?: 'month' | 'year';
  }[];
  /** Endpoints that get every event; more can be created through the API. */
  webhookEndpoints: readonly { url: string; secret: string }[];
  /** Unexpected failures, for the host's logger. */
  onError?: (error: unknown) => void;
}

export interface Sandbox {
  url: string;
  now(): Date;
  close(): Promise<void>;
}

/** A stateful Stripe over HTTP, in memory, for the official client. */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const { host = '127.0.0.1', wallClock = Date.now } = options;
  const onError = options.onError ?? ((error: unknown) => process.emitWarning(String(error)));
  const seed = seedSchema.parse(options);
  let url = '';
  const world = new World(new Clock(wallClock), () => url);
  const deliverer = new Deliverer(world, onError);
  const timeline = new Timeline(world, deliverer, onError);
  const faults = new Faults();
  const keys = new IdempotencyKeys();
  world.onEvent = (event) => deliverer.dispatch(event);
  world.resend = (event, endpoint) => deliverer.send(event, endpoint);

  const reset = (): void => {
    timeline.interrupt();
    world.scheduler.clear();
    world.clock.reset();
    world.state = new State();
    deliverer.reset();
    faults.reset();
    keys.clear();
    seedAccount(world, seed);
  };
  reset();

  const api = { world, keys, faults, onError, catchUp: () => timeline.catchUp() };
  const server = createServer(requestListener(api, { world, deliverer, timeline, faults, reset }));
  const tunnel = openCliTunnel(server, eventSinks(world, onError));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, host, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
  const { port } = server.address() as AddressInfo;
  url = `http://${host}:${port}`;
  // Renewals and retries also come due as wall time flows; an idle sandbox must not keep a process alive.
  const tick = setInterval(() => timeline.catchUp(), TICK_MS).unref();

  return {
    url,
    now: () => new Date(world.clock.nowMs()),
    close: async () => {
      clearInterval(tick);
      world.scheduler.clear();
      tunnel.close();
      await new Promise<void>((resolve, reject) => {
        server.close((error) => (error ? reject(error) : resolve()));
        server.closeAllConnections();
      });
    },
  };
}
