// The load generator, a process of its own: keep-alive connections on bare sockets, so that it takes as little of the
// machine as it can. Sends until its time is over, waits for every answer, and tells what was acknowledged.
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface LoadJob {
  port: number;
  apiKey: string;
  connections: number;
  /** `user-0` to `user-(n-1)`, evenly at random. */
  users: number;
  seconds: number;
  /** Before the measured time; counted by the oracle only. */
  warmupSeconds: number;
  tokens: number;
  /** How many consumes a request carries; above 1 it is the batch endpoint's. */
  items: number;
  /** Of the requests, those that repeat the last acknowledged one of their connection. */
  retryShare: number;
  /** GET the usage of a user rather than consume. */
  isRead: boolean;
  /** Requests a second, whether answered or not (open loop); null = each connection sends as soon as it is answered. */
  rate: number | null;
}

export interface LoadResult {
  /** Answered within the measured time, and that time. */
  requests: number;
  seconds: number;
  /** All answers, those of the warm-up included. */
  answers: number;
  p50Ms: number;
  p99Ms: number;
  /** Answers that were not 200, by status; and what contradicted an earlier answer, in words. */
  refused: Record<string, number>;
  faults: string[];
  /** Acknowledged consumes by number of the user, repeats not counted. */
  taken: Int32Array;
}

interface Consume {
  user: number;
  key: string;
}

interface Sent {
  text: string;
  consumes: Consume[];
  /** The first answer's body, where this repeats a request. */
  before: string | undefined;
  /** When it was to be sent. */
  dueMs: number;
}

const FAULTS_MAX = 20;
const FAULT_CHARACTERS = 300;

class Run {
  readonly #latencies: number[] = [];
  readonly #refused: Record<string, number> = {};
  readonly #faults: string[] = [];
  readonly #taken: Int32Array;
  #startMs = 0;
  #answers = 0;
  #endMs = 0;
  readonly #backlog: number[] = [];
  readonly #idle: Connection[] = [];

  constructor(readonly job: LoadJob) {
    this.#taken = new Int32Array(job.users);
  }

  async run(): Promise<LoadResult> {
    const { job } = this;
    const connections = await Promise.all(
      Array.from({ length: job.connections }, () => Connection.open(this, job.port)),
    );
    this.#startMs = performance.now() + job.warmupSeconds * 1000;
    this.#endMs = this.#startMs + job.seconds * 1000;
    const ends = connections.map((connection) => connection.ended);
    if (job.rate === null) for (const connection of connections) this.next(connection);
    else this.#openLoop(job.rate, connections);
    await Promise.all(ends);
    return this.#result();
  }

  #openLoop(rate: number, connections: Connection[]): void {
    this.#idle.push(...connections);
    const firstMs = performance.now();
    let sent = 0;
    const tick = setInterval(() => {
      const nowMs = performance.now();
      for (; firstMs + (sent * 1000) / rate <= nowMs; sent++)
        this.#backlog.push(firstMs + (sent * 1000) / rate);
      while (this.#backlog.length > 0 && this.#idle.length > 0) this.#sendLate();
      if (nowMs < this.#endMs) return;
      clearInterval(tick);
      for (const connection of this.#idle) connection.close();
    }, 1);
  }

  #sendLate(): void {
    const dueMs = this.#backlog.shift();
    const connection = this.#idle.shift();
    if (dueMs !== undefined && connection) connection.send(this.#request(connection, dueMs));
  }

  /** The connection has its answer. */
  next(connection: Connection): void {
    if (performance.now() >= this.#endMs) connection.close();
    else if (this.job.rate === null) connection.send(this.#request(connection, performance.now()));
    else {
      this.#idle.push(connection);
      if (this.#backlog.length > 0) this.#sendLate();
    }
  }

  #request({ last }: Connection, dueMs: number): Sent {
    const { job } = this;
    if (last && Math.random() < job.retryShare) return { ...last.sent, before: bodyOf(last.answer), dueMs };
    const consumes = Array.from({ length: job.items }, () => ({
      user: Math.floor(Math.random() * job.users),
      key: randomUUID(),
    }));
    return { text: requestText(job, consumes), consumes, before: undefined, dueMs };
  }

  answered(sent: Sent, answer: Answer): void {
    const nowMs = performance.now();
    this.#answers++;
    if (nowMs >= this.#startMs && nowMs < this.#endMs) this.#latencies.push(nowMs - sent.dueMs);
    const { status } = answer;
    if (status !== 200) {
      this.#refused[status] = (this.#refused[status] ?? 0) + 1;
      return;
    }
    if (sent.before !== undefined) {
      const body = bodyOf(answer);
      if (withoutReplayed(sent.before) !== withoutReplayed(body))
        this.#fault(`another answer to a repeated key: ${sent.before} then ${body}`);
      return;
    }
    if (this.job.isRead) return;
    if (this.job.items > 1) {
      const body = bodyOf(answer);
      const failed = body.match(/"status":(?!200)/g)?.length ?? 0;
      if (failed > 0) this.#fault(`${failed} items of a batch failed: ${body}`);
    }
    for (const { user } of sent.consumes) this.#taken[user] = (this.#taken[user] ?? 0) + 1;
  }

  #fault(text: string): void {
    if (this.#faults.length < FAULTS_MAX) this.#faults.push(text.slice(0, FAULT_CHARACTERS));
  }

  #result(): LoadResult {
    const sorted = Float64Array.from(this.#latencies).sort();
    const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
    return {
      requests: sorted.length,
      seconds: this.job.seconds,
      answers: this.#answers,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      refused: this.#refused,
      faults: this.#faults,
      taken: this.#taken,
    };
  }
}

/** Items of a batch say of themselves whether they are a first answer. */
function withoutReplayed(body: string): string {
  return body.replaceAll(/,"replayed":(true|false)/g, '');
}

function requestText(job: LoadJob, consumes: Consume[]): string {
  const head = (line: string) =>
    `${line} HTTP/1.1\r\nHost: 127.0.0.1:${job.port}\r\nAuthorization: Bearer ${job.apiKey}\r\n`;
  const [first] = consumes;
  if (job.isRead) return `${head(`GET /v1/users/user-${first?.user}/usage`)}\r\n`;
  const post = (path: string, more: string, body: string) =>
    `${head(`POST ${path}`)}${more}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  if (job.items === 1) {
    const body = `{"userId":"user-${first?.user}","tokens":${job.tokens}}`;
    return post('/v1/credits/consume', `Idempotency-Key: ${first?.key}\r\n`, body);
  }
  const items = consumes.map(
    ({ user, key }) => `{"userId":"user-${user}","key":"${key}","tokens":${job.tokens}}`,
  );
  return post('/v1/credits/consume/batch', '', `{"items":[${items.join(',')}]}`);
}

/** One answer as it came; its body is seldom looked at. */
interface Answer {
  status: number;
  bytes: Buffer;
  bodyStart: number;
}

const bodyOf = ({ bytes, bodyStart }: Answer): string => bytes.toString('utf8', bodyStart);

const HEAD_END = Buffer.from('\r\n\r\n');
const LENGTH = Buffer.from('\r\nContent-Length: ');
const [STATUS_START, STATUS_END] = [9, 12];

/** The number that stands there. */
function numberAt(bytes: Buffer, start: number, end = bytes.length): number {
  let number = 0;
  for (let at = start; at < end; at++) {
    const digit = (bytes[at] ?? 0) - 48;
    if (digit < 0 || digit > 9) break;
    number = number * 10 + digit;
  }
  return number;
}

/** @returns undefined while some of it is under way */
function parseAnswer(bytes: Buffer): Answer | undefined {
  const headEnd = bytes.indexOf(HEAD_END);
  if (headEnd < 0) return undefined;
  const lengthAt = bytes.indexOf(LENGTH);
  if (lengthAt < 0 || lengthAt > headEnd)
    throw new Error(`An answer of no length: ${bytes.toString('latin1', 0, 200)}`);
  const bodyStart = headEnd + HEAD_END.length;
  if (bytes.length < bodyStart + numberAt(bytes, lengthAt + LENGTH.length)) return undefined;
  return { status: numberAt(bytes, STATUS_START, STATUS_END), bytes, bodyStart };
}

const READ_BYTES = 64 * 1024;
/** Of all connections: what came is taken out of it at once. A buffer for each read was a tenth of what this process takes. */
const readBuffer = Buffer.allocUnsafe(READ_BYTES);

class Connection {
  last: { sent: Sent; answer: Answer } | undefined;
  readonly ended: Promise<void>;
  readonly #run: Run;
  readonly #socket: Socket;
  #sent: Sent | undefined;
  #received: Buffer | undefined;

  constructor(run: Run, port: number) {
    this.#run = run;
    this.#socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          this.#receive(Buffer.from(readBuffer.subarray(0, length)));
          return true;
        },
      },
    });
    this.ended = new Promise((resolve) => {
      this.#socket.on('close', () => resolve());
    });
    this.#socket.on('error', () => this.#socket.destroy());
  }

  static async open(run: Run, port: number): Promise<Connection> {
    const connection = new Connection(run, port);
    await once(connection.#socket, 'connect');
    return connection;
  }

  send(request: Sent): void {
    this.#sent = request;
    this.#socket.write(request.text, 'latin1');
  }

  close(): void {
    this.#socket.end();
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#received ? Buffer.concat([this.#received, chunk]) : chunk;
    const answer = parseAnswer(bytes);
    this.#received = answer ? undefined : bytes;
    if (!answer) return;
    const sent = this.#sent;
    if (!sent) throw new Error(`An answer to no request: ${bytes.toString('latin1', 0, 200)}`);
    this.#run.answered(sent, answer);
    if (answer.status === 200) this.last = { sent, answer };
    this.#run.next(this);
  }
}

process.on('message', (job: LoadJob) => {
  new Run(job).run().then(
    (result) => process.send?.(result),
    (error: unknown) => {
      process.stderr.write(`load generator: ${String(error)}\n`);
      process.exit(1);
    },
  );
});
process.on('disconnect', () => process.exit(0));
