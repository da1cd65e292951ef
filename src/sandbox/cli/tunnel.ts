import { createHash } from 'node:crypto';
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { z } from 'zod';
import { newId } from '../ids.ts';
import type { Sink } from '../targets.ts';
import { API_VERSION } from '../world.ts';
import { type CliSession, SUBSCRIBE_PATH, sessionOf } from './sessions.ts';

const SUBPROTOCOL = 'stripecli-devproxy-v1';
/** A CLI told to listen for some events only acknowledges the others as well, but answers nothing. */
const SILENCE_MS = 500;
const ANSWER_TIMEOUT_MS = 15_000;
/** The CLI makes a new connection every minute and after a loss; what happens meanwhile waits this long. */
const GRACE_MS = 15_000;

export interface SinkHost {
  addSink: (sink: Sink) => () => void;
}

interface Sent {
  type: string;
  texts: string[];
  acknowledged: boolean;
  settle: (status: number) => void;
  silence?: NodeJS.Timeout;
}

// Other versions of the CLI may say more; only these fields matter here.
const answer = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('event_ack'), webhook_conversation_id: z.string() }),
  z.looseObject({
    type: z.literal('webhook_response'),
    webhook_conversation_id: z.string(),
    status: z.number(),
  }),
]);

/** One `stripe listen`, over however many connections it makes. */
class Listener {
  readonly #session: CliSession;
  readonly #remove: () => void;
  readonly #onGone: () => void;
  /** By conversation: what the CLI has not answered, or was not there to be told. */
  readonly #waiting = new Map<string, Sent>();
  /** Types of events that the CLI passes over. */
  readonly #silent = new Set<string>();
  #socket: WebSocket | undefined;
  #grace: NodeJS.Timeout | undefined;

  constructor(session: CliSession, host: SinkHost, onGone: () => void) {
    this.#session = session;
    this.#onGone = onGone;
    this.#remove = host.addSink({
      secret: session.secret,
      enabledEvents: ['*'],
      send: (payload, headers, { type }) => this.#send(payload, headers, type),
    });
  }

  connect(socket: WebSocket): void {
    clearTimeout(this.#grace);
    const former = this.#socket;
    this.#socket = socket;
    former?.close();
    socket.on('message', (data) => this.#hear(data));
    // A broken connection ends with `close` too, and that is where it is dealt with.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (this.#socket === socket) this.#lost();
    });
    for (const sent of this.#waiting.values()) if (!sent.acknowledged) this.#transmit(sent);
  }

  stop(): void {
    clearTimeout(this.#grace);
    this.#remove();
    for (const sent of this.#waiting.values()) sent.settle(0);
    this.#socket?.terminate();
    this.#onGone();
  }

  /** Nobody waits for an absent CLI: what it has not acknowledged is kept for its next connection. */
  #lost(): void {
    this.#socket = undefined;
    for (const sent of this.#waiting.values()) sent.settle(200);
    this.#grace = setTimeout(() => this.stop(), GRACE_MS).unref();
  }

  #send(payload: string, headers: Record<string, string>, type: string): Promise<number> {
    const conversation = newId('wc');
    return new Promise((resolve) => {
      const timeout = setTimeout(() => sent.settle(0), ANSWER_TIMEOUT_MS).unref();
      const sent: Sent = {
        type,
        texts: messages(conversation, payload, headers),
        acknowledged: false,
        settle: (status) => {
          clearTimeout(timeout);
          clearTimeout(sent.silence);
          if (sent.acknowledged || this.#socket !== undefined) this.#waiting.delete(conversation);
          resolve(status);
        },
      };
      this.#waiting.set(conversation, sent);
      if (this.#socket === undefined) sent.settle(200);
      else this.#transmit(sent);
    });
  }

  #transmit(sent: Sent): void {
    for (const text of sent.texts) this.#socket?.send(text);
  }

  #hear(data: RawData): void {
    const said = parse(String(data));
    const sent = said === undefined ? undefined : this.#waiting.get(said.webhook_conversation_id);
    if (said === undefined || sent === undefined) return;
    if (said.type === 'webhook_response') {
      this.#silent.delete(sent.type);
      sent.settle(said.status);
    } else if (!sent.acknowledged) this.#acknowledged(sent);
  }

  #acknowledged(sent: Sent): void {
    sent.acknowledged = true;
    if (!this.#session.forwards || this.#silent.has(sent.type)) sent.settle(200);
    else
      sent.silence = setTimeout(() => {
        this.#silent.add(sent.type);
        sent.settle(200);
      }, SILENCE_MS).unref();
  }
}

function parse(text: string): z.output<typeof answer> | undefined {
  try {
    return answer.safeParse(JSON.parse(text)).data;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Once for `listen`, once for `listen --latest`: each passes over what is marked for the other. */
function messages(conversation: string, payload: string, headers: Record<string, string>): string[] {
  const id = `we_${createHash('sha256').update(conversation).digest('hex').slice(0, 24)}`;
  return [null, API_VERSION].map((version) =>
    JSON.stringify({
      type: 'webhook_event',
      endpoint: { api_version: version },
      event_payload: payload,
      http_headers: headers,
      webhook_conversation_id: conversation,
      webhook_id: id,
    }),
  );
}

export interface CliTunnel {
  close: () => void;
}

/** The WebSocket of `stripe listen` on the sandbox's own port. */
export function openCliTunnel(server: Server, host: SinkHost): CliTunnel {
  const listeners = new Map<string, Listener>();
  const sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  });
  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const { pathname } = new URL(request.url ?? '/', 'http://sandbox.invalid');
    const session = pathname.startsWith(SUBSCRIBE_PATH)
      ? sessionOf(pathname.slice(SUBSCRIBE_PATH.length))
      : undefined;
    if (session === undefined) {
      socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (opened) => {
      const listener =
        listeners.get(session.id) ?? new Listener(session, host, () => listeners.delete(session.id));
      listeners.set(session.id, listener);
      listener.connect(opened);
    });
  };
  server.on('upgrade', upgrade);
  return {
    close: () => {
      server.removeListener('upgrade', upgrade);
      for (const listener of [...listeners.values()]) listener.stop();
      sockets.close();
    },
  };
}
