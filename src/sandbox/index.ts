import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { seedAccount, seedSchema } from './catalogue.ts';
import { openCliTunnel } from './cli/tunnel.ts';
import { Clock } from './clock.ts';
import { Deliverer } from './delivery.ts';
import { Faults } from './http/faults.ts';
import { IdempotencyKeys } from './http/idempotency.ts';
import { requestListener } from './http/server.ts';
import { onAnswered } from './invoice-wait.ts';
import { Snapshot } from './snapshot.ts';
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
  /** Where to keep everything over a restart; without it, it ends with the process. */
  snapshotFile?: string;
  /** Resolves when the receiver of the webhooks has dealt with all that it was sent; moving the clock waits for it. */
  receiverIdle?: () => Promise<void>;
  /** Unexpected failures, for the host's logger. */
  onError?: (error: unknown) => void;
}

export interface Sandbox {
  url: string;
  now(): Date;
  close(): Promise<void>;
}

interface Parts {
  world: World;
  deliverer: Deliverer;
  timeline: Timeline;
  faults: Faults;
  keys: IdempotencyKeys;
}

function assemble(wallClock: () => number, baseUrl: () => string, onError: (error: unknown) => void): Parts {
  const world = new World(new Clock(wallClock), baseUrl);
  const deliverer = new Deliverer(world, onError);
  const timeline = new Timeline(world, deliverer, onError);
  world.onEvent = (event) => deliverer.dispatch(event);
  world.onAnswered = (event) => onAnswered(world, event);
  world.deliveredOk = (event) => deliverer.deliveredOk(event);
  world.resend = (event, endpoint) => deliverer.send(event, endpoint.id, { once: true });
  world.resendToSinks = (event) => deliverer.resendToSinks(event);
  world.startTestClock = (id, target) => timeline.startTestClock(id, target);
  return { world, deliverer, timeline, faults: new Faults(), keys: new IdempotencyKeys() };
}

function clear({ world, deliverer, timeline, faults, keys }: Parts): void {
  timeline.interrupt();
  world.scheduler.clear();
  world.clock.reset();
  world.state = new State();
  deliverer.reset();
  faults.reset();
  keys.clear();
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.removeListener('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** Clocks that were on their way when the last process ended. */
function resumeTestClocks({ world, timeline }: Parts): void {
  for (const { id, status_details: details } of world.state.testClocks.values())
    if (details.advancing !== undefined) timeline.startTestClock(id, details.advancing.target_frozen_time);
}

/** A stateful Stripe over HTTP for the official client; in memory, with a snapshot on disk if wanted. */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const { host = '127.0.0.1', wallClock = Date.now, snapshotFile } = options;
  const onError = options.onError ?? ((error: unknown) => process.emitWarning(String(error)));
  const seed = seedSchema.parse(options);
  let url = '';
  const parts = assemble(wallClock, () => url, onError);
  const { world, deliverer, timeline } = parts;
  if (options.receiverIdle) world.receiverIdle = options.receiverIdle;
  const snapshot = snapshotFile === undefined ? undefined : new Snapshot(snapshotFile, parts, onError);
  snapshot?.load();
  seedAccount(world, seed);
  const reset = (): void => {
    clear(parts);
    seedAccount(world, seed);
    snapshot?.write();
  };

  const beforeResponse = async (requestId: string): Promise<void> => {
    if (deliverer.settings.beforeResponse) await deliverer.settled(requestId);
  };
  const api = { ...parts, onError, catchUp: () => timeline.catchUp(), beforeResponse };
  const server = createServer(requestListener(api, { ...parts, reset }));
  const tunnel = openCliTunnel(server, deliverer);
  url = `http://${host}:${await listen(server, options.port, host)}`;
  world.touched = () => snapshot?.touch();
  resumeTestClocks(parts);
  // Renewals and retries also come due as wall time flows; an idle sandbox must not keep a process alive.
  const tick = setInterval(() => timeline.catchUp(), TICK_MS).unref();

  return {
    url,
    now: () => new Date(world.clock.nowMs()),
    close: async () => {
      clearInterval(tick);
      timeline.interrupt();
      deliverer.stop();
      tunnel.close();
      await new Promise<void>((resolve, reject) => {
        server.close((error) => (error ? reject(error) : resolve()));
        server.closeAllConnections();
      });
      world.touched = () => undefined;
      snapshot?.write();
      world.scheduler.clear();
    },
  };
}
