// Holds and their captures by many callers at once, in a process of its own: through the door, or each in a transaction of
// its own. Told by its first message, answers when it is done.
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { configOf, readCatalogue, readEnvironment } from '../src/config.ts';
import { type Context, openContext } from '../src/context.ts';
import { decideAtDoor } from '../src/lib/account-door.ts';
import { captureRequest, holdRequest } from '../src/lib/holds.ts';
import { type Answer, type ChangeRequest, requestHash } from '../src/lib/requests.ts';
import { type AccountRequest, decideGroup } from '../src/store/account-group.ts';
import { bucketOf } from '../src/store/bucket.ts';

export interface HoldsJob {
  kind: 'door' | 'one-by-one';
  environment: Record<string, string>;
  callers: number;
  /** `user-0` to `user-(n-1)`, evenly at random. */
  users: number;
  seconds: number;
  warmupSeconds: number;
  tokens: number;
}

export interface HoldsResult {
  /** Holds and captures answered within the measured time, and that time. */
  requests: number;
  seconds: number;
  cpuMicroseconds: number;
  /** Acknowledged captures by number of the user, those of the warm-up included. */
  taken: Int32Array;
}

type Decide = (request: AccountRequest<Answer>) => Promise<Answer>;

async function decideAlone({ pool, catalogue }: Context, request: AccountRequest<Answer>): Promise<Answer> {
  const options = { pool, catalogue, waits: true };
  const [decision] = await decideGroup(options, bucketOf(request.userId), [request]);
  if (decision && 'result' in decision) return decision.result;
  throw decision?.error ?? new Error('A request was left undecided.');
}

function newRequest(): ChangeRequest {
  const key = randomUUID();
  return { key, scope: 'bench', hash: requestHash(key), requestId: key, actor: 'bench' };
}

class Callers {
  requests = 0;
  readonly taken: Int32Array;
  #endMs = 0;

  constructor(
    readonly context: Context,
    readonly job: HoldsJob,
    readonly decide: Decide,
  ) {
    this.taken = new Int32Array(job.users);
  }

  async runFor(seconds: number): Promise<void> {
    this.requests = 0;
    this.#endMs = performance.now() + seconds * 1000;
    await Promise.all(Array.from({ length: this.job.callers }, () => this.#callInTurn()));
  }

  async #callInTurn(): Promise<void> {
    const { context, job, decide, taken } = this;
    while (performance.now() < this.#endMs) {
      const n = Math.floor(Math.random() * job.users);
      const { tokens } = job;
      const held = await decide(holdRequest(context, { userId: `user-${n}`, tokens }, newRequest()));
      const holdId = String(held.body.holdId);
      await decide(await captureRequest(context, { holdId, tokens }, newRequest()));
      taken[n] = (taken[n] ?? 0) + 1;
      this.requests += 2;
    }
  }
}

async function run(job: HoldsJob): Promise<HoldsResult> {
  const settings = readEnvironment(job.environment);
  const log = pino({ level: 'warn' }, pino.destination(2));
  const context = await openContext({ config: configOf(settings), catalogue: readCatalogue(settings), log });
  const alone: Decide = (request) => decideAlone(context, request);
  const atDoor: Decide = (request) => decideAtDoor(context, request);
  const callers = new Callers(context, job, job.kind === 'door' ? atDoor : alone);
  await callers.runFor(job.warmupSeconds);
  const before = process.cpuUsage();
  const startMs = performance.now();
  await callers.runFor(job.seconds);
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(before);
  const { requests, taken } = callers;
  await context.close();
  return { requests, seconds, cpuMicroseconds: user + system, taken };
}

process.on('message', (job: HoldsJob) => {
  run(job).then(
    (result) => process.send?.(result),
    (error: unknown) => {
      process.stderr.write(`holds ${job.kind}: ${error instanceof Error ? error.stack : String(error)}\n`);
      process.exit(1);
    },
  );
});
process.on('disconnect', () => process.exit(0));
