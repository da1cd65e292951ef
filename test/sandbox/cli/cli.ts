import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import Stripe from 'stripe';

const BOUND_MS = 15_000;
const shim = join(
  dirname(createRequire(import.meta.url).resolve('@stripe/cli/package.json')),
  'bin',
  'shim.js',
);

/** The official CLI with a HOME of its own, so that no login and no settings of this machine play a part. */
export class Cli {
  readonly home = mkdtempSync(join(tmpdir(), 'tollgate-cli-'));
  readonly #url: string;
  readonly #running = new Set<ChildProcess>();

  constructor(url: string) {
    this.#url = url;
  }

  start(...args: string[]): Running {
    const child = spawn(
      process.execPath,
      [shim, ...args, '--api-base', this.#url, '--api-key', 'sk_test_of_the_cli'],
      {
        cwd: this.home,
        env: {
          PATH: process.env.PATH,
          HOME: this.home,
          XDG_CONFIG_HOME: this.home,
          STRIPE_CLI_TELEMETRY_OPTOUT: '1',
          NO_COLOR: '1',
        },
        // The shim waits for the binary and does not pass signals on: only the group can be ended.
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    this.#running.add(child);
    child.once('exit', () => this.#running.delete(child));
    return new Running(child);
  }

  async run(...args: string[]): Promise<{ code: number | null; out: string }> {
    const running = this.start(...args);
    const code = await running.ended;
    return { code, out: running.output };
  }

  stop(): void {
    for (const child of this.#running) if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    rmSync(this.home, { recursive: true, force: true });
  }
}

export class Running {
  output = '';
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #said = new EventEmitter();

  constructor(child: ChildProcess) {
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (data: Buffer) => {
        this.output += data.toString('utf8');
        this.#said.emit('more');
      });
    this.ended = once(child, 'close').then(([code]: (number | null)[]) => code ?? null);
  }

  async says(pattern: RegExp): Promise<RegExpExecArray> {
    const bound = AbortSignal.timeout(BOUND_MS);
    for (;;) {
      const found = pattern.exec(this.output);
      if (found !== null) return found;
      await once(this.#said, 'more', { signal: bound }).catch(() => {
        throw new Error(`The CLI never said ${pattern}:\n${this.output}`);
      });
    }
  }

  async stop(): Promise<void> {
    if (this.#child.pid !== undefined && this.#child.exitCode === null)
      process.kill(-this.#child.pid, 'SIGTERM');
    await this.ended;
  }
}

/** A webhook receiver that believes only what stripe-node verifies, and can be waited for. */
export class Hook {
  events: Stripe.Event[] = [];
  rejected: unknown[] = [];
  url = '';
  secret: string;
  #server: Server | undefined;
  readonly #arrived = new EventEmitter();
  readonly #stripe = new Stripe('sk_test_of_the_receiver');

  constructor(secret: string) {
    this.secret = secret;
  }

  async start(): Promise<string> {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const signature = String(request.headers['stripe-signature']);
        try {
          const event = this.#stripe.webhooks.constructEvent(Buffer.concat(chunks), signature, this.secret);
          this.events.push(event);
          response.writeHead(200).end('taken');
        } catch (error) {
          this.rejected.push(error);
          response.writeHead(400).end('refused');
        }
        this.#arrived.emit('one');
      });
    });
    await new Promise<void>((resolve) => this.#server?.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/webhooks`;
    return this.url;
  }

  async receives(what: string, matches: (event: Stripe.Event) => boolean): Promise<Stripe.Event> {
    const bound = AbortSignal.timeout(BOUND_MS);
    for (;;) {
      const found = this.events.find(matches);
      if (found !== undefined) return found;
      await once(this.#arrived, 'one', { signal: bound }).catch(() => {
        const types = this.events.map((event) => event.type).join(', ');
        throw new Error(`${what} never arrived; there came: ${types || 'nothing'}`);
      });
    }
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise<void>((resolve) => this.#server?.close(() => resolve()) ?? resolve());
  }
}
