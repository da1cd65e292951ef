// What the door of all changes that are no batched consume promises: requests that arrive together share a commit, and
// each is decided as if it had come alone.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TollgateError } from '../../src/errors.ts';
import { decideAtDoor } from '../../src/lib/account-door.ts';
import { consume, consumeRequest, consumeResult, consumingOf } from '../../src/lib/credits.ts';
import { grantCredits } from '../../src/lib/grants.ts';
import { captureRequest, holdRequest, placeHold, releaseRequest } from '../../src/lib/holds.ts';
import { refundRequest } from '../../src/lib/refunds.ts';
import { readUsage, signUp } from '../../src/lib/users.ts';
import { workflowRequest } from '../../src/lib/workflows.ts';
import { type AccountRequest, decideGroup } from '../../src/store/account-group.ts';
import type { AccountUnit } from '../../src/store/account-unit.ts';
import { bucketOf } from '../../src/store/bucket.ts';
import type { Transaction } from '../../src/store/database.ts';
import { findViolations } from '../../src/store/invariants.ts';
import { decideAlone, oneByOne } from '../support/doors.ts';
import { type Library, openLibrary, START } from '../support/library.ts';
import { waitForLocksForEver } from '../support/locks.ts';
import { idsOfBucket } from '../support/population.ts';
import { request } from '../support/request.ts';
import { rowsOf } from '../support/rows.ts';
import { announceSeed } from '../support/seed.ts';
import { sentDuring } from '../support/statements.ts';

const CONNECTIONS = 20;
const BUCKET = 7;
const NEXT_MONTH = '2026-02-28T10:00:00.000Z';

let library: Library;
let users = 0;

/** With 10,000 tokens. */
async function newUser(userId = `at-the-door-${users++}`): Promise<string> {
  await signUp(library.context, { userId });
  return userId;
}

const newUsers = (count: number): Promise<string[]> =>
  Promise.all(Array.from({ length: count }, () => newUser()));

/** Of one bucket, so that they share a group wherever they are. */
async function newNeighbours(count: number): Promise<string[]> {
  const ids = idsOfBucket(`neighbour-${users++}`, BUCKET, count);
  for (const userId of ids) await newUser(userId);
  return ids;
}

const hold = (userId: string, tokens: number, key: string) =>
  placeHold(library.context, { userId, tokens }, request(key));

/** In JSON, without what differs by chance. */
function withoutIds(value: unknown): string {
  return JSON.stringify(value)
    .replaceAll(/(hold_[0-9a-z]{34})_[\w-]+/g, '$1')
    .replaceAll(/"le_[^"]+"/g, '"entry"')
    .replaceAll(/(gr|hold|wf)_[0-9a-z]{34}/g, '$1');
}

async function countStatements(text: string, work: () => Promise<unknown>): Promise<number> {
  return (await sentDuring(work)).filter((sent) => sent === text).length;
}

async function whileLocked(
  sql: string,
  values: unknown[],
  work: (release: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const other: Transaction = await library.context.pool.connect();
  await other.query('begin');
  await other.query(sql, values);
  try {
    await work(async () => void (await other.query('commit')));
  } finally {
    await other.query('commit');
    other.release();
  }
}

const amount = fc.oneof(fc.integer({ min: 1, max: 4_000 }), fc.constantFrom(600, 10_000));
/** Few, so that many are repeated. */
const key = fc.nat(3);
const which = fc.nat(3);
const acts = fc.oneof(
  fc.record({ do: fc.constant('hold' as const), key, amount }),
  fc.record({ do: fc.constant('capture' as const), key, which, amount: fc.option(fc.nat(4_000)) }),
  fc.record({ do: fc.constant('release' as const), key, which }),
  fc.record({ do: fc.constant('refund' as const), key, which, amount: fc.option(amount) }),
  fc.record({ do: fc.constant('work' as const), key }),
  fc.record({ do: fc.constant('consume' as const), key, amount }),
);
type Act = typeof acts extends fc.Arbitrary<infer T> ? T : never;
const story = fc.record({
  bonuses: fc.array(amount, { maxLength: 3 }),
  /** Nothing is due, a hold, or the month. */
  at: fc.constantFrom(START, '2026-01-31T10:00:02.000Z', NEXT_MONTH),
  acts: fc.array(acts, { minLength: 1, maxLength: 20 }),
});

async function askedOf(
  userId: string,
  act: Act,
  { holdIds, entryIds }: { holdIds: string[]; entryIds: string[] },
): Promise<AccountRequest<unknown>> {
  const { context } = library;
  const { do: what, ...rest } = act;
  const asked = request(`${what} ${act.key}`, rest);
  const tokens = 'amount' in act ? (act.amount ?? undefined) : undefined;
  switch (what) {
    case 'hold':
      return holdRequest(context, { userId, tokens }, asked);
    case 'capture':
      return captureRequest(context, { holdId: holdIds[act.which]!, tokens }, asked);
    case 'release':
      return releaseRequest(context, holdIds[act.which]!, asked);
    case 'refund':
      return refundRequest(context, { entryId: entryIds[act.which]!, tokens, reason: 'test' }, asked);
    case 'work':
      return workflowRequest(context, { userId, kind: 'code_review', input: {} }, asked);
    default: {
      const taking = consumeRequest(context, userId, consumingOf(context, { userId, tokens }, asked));
      const decide = (unit: AccountUnit) => {
        const { outcome, entry } = taking.decide(unit);
        return [outcome, consumeResult(userId, entry)];
      };
      return { ...taking, decide };
    }
  }
}

/** Always the same; the last of the holds expires after a second. */
async function liveUntilNow(bonuses: number[]) {
  const { context } = library;
  library.setTime(START);
  const userId = await newUser();
  for (const [n, tokens] of bonuses.entries()) {
    const input = { userId, tokens, source: 'bonus' as const, reason: 'test' };
    await grantCredits(context, input, request(`bonus-${n}`));
  }
  const holdIds: string[] = [];
  const entryIds: string[] = [];
  for (let n = 0; n < 4; n++) {
    const expiresInSeconds = n === 3 ? 1 : undefined;
    const input = { userId, tokens: 700, expiresInSeconds };
    holdIds.push(String((await oneByOne.placeHold(context, input, request(`held-${n}`))).body.holdId));
    const taken = await oneByOne.consume(context, { userId, tokens: 1_200 }, request(`taken-${n}`));
    entryIds.push(String(taken.body.entryId));
  }
  return { userId, holdIds, entryIds };
}

describe.each([
  ['in one lane, on one PostgreSQL', false],
  ['in a lane for each bucket, as on Citus', true],
])('%s:', (_, isDistributed) => {
  beforeAll(async () => {
    library = await openLibrary({ maxConnections: CONNECTIONS, isDistributed });
  });
  afterAll(() => library.close());

  describe('requests that arrive together', () => {
    it('get the answers and write the rows of the same requests one by one', async () => {
      const seed = announceSeed('a group against one by one');
      const live = async (
        { bonuses, at, acts: list }: typeof story extends fc.Arbitrary<infer T> ? T : never,
        decide: (asked: AccountRequest<unknown>[]) => Promise<unknown>,
      ) => {
        const { userId, ...ids } = await liveUntilNow(bonuses);
        library.setTime(at);
        const asked = await Promise.all(list.map((act) => askedOf(userId, act, ids)));
        const answers = withoutIds(await decide(asked));
        const kept = await library.context.pool.query(
          'select scope, key, request_hash, status, body, created_at from idempotency_records where bucket = $1 and user_id = $2 order by scope, key',
          [bucketOf(userId), userId],
        );
        const works = await library.context.pool.query(
          'select kind, input, entry_seq, created_at from workflows where bucket = $1 and user_id = $2 order by entry_seq',
          [bucketOf(userId), userId],
        );
        return {
          answers,
          rows: withoutIds([await rowsOf(library.context.pool, userId), kept.rows, works.rows]),
        };
      };
      const outcomeOf = (work: Promise<unknown>): Promise<unknown> =>
        work.catch((error: unknown) => {
          if (error instanceof TollgateError) return [error.code, error.message, error.members];
          throw error;
        });
      await fc.assert(
        fc.asyncProperty(story, async (told) => {
          const grouped = await live(told, (asked) =>
            Promise.all(asked.map((one) => outcomeOf(decideAtDoor(library.context, one)))),
          );
          const single = await live(told, async (asked) => {
            const answers = [];
            for (const one of asked) answers.push(await outcomeOf(decideAlone(library.context, one)));
            return answers;
          });
          expect(grouped).toEqual(single);
        }),
        { seed, numRuns: 60 },
      );
      library.setTime(START);
      expect(await findViolations(library.context.pool)).toEqual([]);
    }, 120_000);

    it('share one commit, a hundred at a time', async () => {
      const ids = await newNeighbours(10);
      const all = Array.from({ length: 150 }, (_, n) => hold(ids[n % 10]!, 10, `shared-${n}`));
      const commits = await countStatements('commit', () => Promise.all(all));
      // In one lane the fifty that are left go in two parts, one beside the other.
      expect(commits).toBe(isDistributed ? 2 : 3);
      for (const userId of ids)
        expect(await readUsage(library.context, userId)).toMatchObject({ heldTokens: 150 });
    });

    it('share it with consumes that a batch cannot decide: of users with something due', async () => {
      const ids = await newNeighbours(40);
      library.setTime(NEXT_MONTH);
      const take = (userId: string, n: number) =>
        consume(library.context, { userId, tokens: 100 }, request(`due-${n}`));
      const commits = await countStatements('commit', () =>
        Promise.all(ids.flatMap((userId) => [take(userId, 1), take(userId, 2)])),
      );
      for (const userId of ids)
        expect(await readUsage(library.context, userId)).toMatchObject({ availableTokens: 9_800 });
      library.setTime(START);
      // Halves of them, as far as they came apart.
      expect(commits).toBeLessThanOrEqual(4);
    });

    it('of many users, repeated and refused among them, are each accounted for', async () => {
      const ids = await newUsers(20);
      const asked = ids.flatMap((userId, u) =>
        Array.from({ length: 12 }, (_, n) => ({
          userId,
          tokens: 700 + ((u * 31 + n * 977) % 1_500),
          key: `many-${n % 9}`,
        })),
      );
      const outcomes = await Promise.allSettled(asked.map((one) => hold(one.userId, one.tokens, one.key)));
      for (const userId of ids) {
        const held = new Map<string, number>();
        for (const [index, outcome] of outcomes.entries()) {
          if (asked[index]!.userId !== userId) continue;
          if (outcome.status === 'rejected') {
            expect(outcome.reason).toMatchObject({ code: 'insufficient_credits' });
          } else {
            const { holdId, tokens } = outcome.value.body;
            expect(outcome.value.replayed).toBe(held.has(String(holdId)));
            held.set(String(holdId), Number(tokens));
          }
        }
        const heldTokens = [...held.values()].reduce((sum, tokens) => sum + tokens, 0);
        const usage = { heldTokens, availableTokens: 10_000 - heldTokens };
        expect(await readUsage(library.context, userId)).toMatchObject(usage);
      }
      expect(await findViolations(library.context.pool)).toEqual([]);
    });

    it('under one key replay the first, and are refused where they ask for something else', async () => {
      const [userId] = await newUsers(1);
      const one = (tokens: number) =>
        placeHold(library.context, { userId: userId!, tokens }, request('one-key', tokens));
      const outcomes = await Promise.allSettled([one(100), one(100), one(200), one(100)]);
      expect(
        outcomes.map((outcome) =>
          outcome.status === 'fulfilled' ? outcome.value.replayed : outcome.reason.code,
        ),
      ).toEqual([false, true, 'idempotency_key_reused', true]);
      expect(await readUsage(library.context, userId!)).toMatchObject({ heldTokens: 100 });
    });

    it('never hold more than there is, however many there are', async () => {
      const [userId] = await newUsers(1);
      const outcomes = await Promise.allSettled(
        Array.from({ length: 120 }, (_, n) => hold(userId!, 1_000, `parallel-${n}`)),
      );
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(10);
      const usage = { availableTokens: 0, heldTokens: 10_000 };
      expect(await readUsage(library.context, userId!)).toMatchObject(usage);
      expect(await findViolations(library.context.pool)).toEqual([]);
    });
  });

  describe('one request never harms its neighbours', () => {
    it('where its user is locked by somebody, and its own wait together', async () => {
      const [locked, ...free] = await newNeighbours(10);
      await waitForLocksForEver(library.context.pool);
      const sql = 'select 1 from users where bucket = $1 and id = $2 for update';
      await whileLocked(sql, [bucketOf(locked!), locked], async (release) => {
        const waiting = Promise.all(Array.from({ length: 5 }, (_, n) => hold(locked!, 100, `waits-${n}`)));
        const failed = await countStatements('rollback', async () => {
          await Promise.all(free.map((userId) => hold(userId, 100, 'passes')));
          await Promise.all(free.map((userId) => hold(userId, 100, 'passes again')));
          await release();
          await waiting;
        });
        expect(failed).toBe(0);
      });
      expect(await readUsage(library.context, locked!)).toMatchObject({ heldTokens: 500 });
    });

    it('where somebody has locked a grant of its user', async () => {
      const [locked, ...free] = await newNeighbours(10);
      await waitForLocksForEver(library.context.pool);
      const sql = 'select 1 from credit_grants where bucket = $1 and user_id = $2 for update';
      await whileLocked(sql, [bucketOf(locked!), locked], async (release) => {
        const waiting = hold(locked!, 100, 'waits');
        await Promise.all(free.map((userId) => hold(userId, 100, 'passes')));
        await release();
        await waiting;
      });
      expect(await readUsage(library.context, locked!)).toMatchObject({ heldTokens: 100 });
    });

    it('where the database refuses it, also those of its own user', async () => {
      const [poisoned, ...sound] = await newNeighbours(10);
      const metadata = { text: '\u0000' };
      const outcomes = await Promise.allSettled([
        placeHold(library.context, { userId: poisoned!, metadata }, request('poison')),
        hold(poisoned!, 100, 'sound, of the same user'),
        ...sound.map((userId) => hold(userId, 100, 'sound')),
      ]);
      expect(outcomes.map(({ status }) => status)).toEqual(['rejected', ...Array(10).fill('fulfilled')]);
      for (const userId of [poisoned!, ...sound])
        expect(await readUsage(library.context, userId)).toMatchObject({ heldTokens: 100 });
    });

    it('where it fails by our own fault, or is refused after it has changed something', async () => {
      const [broken, ...sound] = await newNeighbours(10);
      const { context } = library;
      const spoils = (error: Error): AccountRequest<unknown> => ({
        userId: broken!,
        now: context.clock.now(),
        needs: {},
        decide({ account }) {
          account.consume(100, { key: 'half done' });
          throw error;
        },
      });
      const outcomes = await Promise.allSettled([
        decideAtDoor(context, spoils(new Error('a fault of ours'))),
        decideAtDoor(context, spoils(new TollgateError('conflict', 'Refused too late.'))),
        ...sound.map((userId) => hold(userId, 100, 'sound')),
      ]);
      const [fault, refusal, ...others] = outcomes;
      expect(fault).toMatchObject({ reason: { message: 'a fault of ours' } });
      expect(refusal).toMatchObject({ reason: { code: 'conflict' } });
      expect(others.map(({ status }) => status)).toEqual(Array(9).fill('fulfilled'));
      expect(await readUsage(context, broken!)).toMatchObject({ availableTokens: 10_000 });
    });

    it('where its user is unknown', async () => {
      const [nobody, ...sound] = idsOfBucket(`neighbour-${users++}`, BUCKET, 4);
      for (const userId of sound) await newUser(userId);
      const asked = [nobody!, ...sound].map((userId) => hold(userId, 100, 'who is there'));
      const outcomes = await Promise.allSettled(asked);
      expect(outcomes.map((each) => (each.status === 'rejected' ? each.reason.code : 'held'))).toEqual([
        'not_found',
        ...Array(3).fill('held'),
      ]);
    });
  });

  it('a hot user whose holds and consumes come at once gets all of them answered, each once', async () => {
    const [userId] = await newUsers(1);
    const input = { userId: userId!, tokens: 1_000_000, source: 'bonus' as const, reason: 'test' };
    await grantCredits(library.context, input, request('bonus'));
    const stream = async (lane: number): Promise<void> => {
      for (let n = 0; n < 20; n++) {
        if (lane % 2 === 0) await hold(userId!, 10, `hot-${lane}-${n}`);
        else await consume(library.context, { userId: userId!, tokens: 10 }, request(`hot-${lane}-${n}`));
      }
    };
    await Promise.all(Array.from({ length: 20 }, (_, lane) => stream(lane)));
    expect(await readUsage(library.context, userId!)).toMatchObject({
      heldTokens: 2_000,
      totalTokensUsed: 2_000,
      availableTokens: 1_010_000 - 4_000,
    });
    expect(await findViolations(library.context.pool)).toEqual([]);
  });
});

describe('the door', () => {
  beforeAll(async () => {
    library = await openLibrary();
  });
  afterAll(() => library.close());

  it('takes no more than 10,000 requests and refuses the next with `unavailable` and Retry-After', async () => {
    const never = { query: () => new Promise(() => {}) };
    const context = { ...library.context, pool: never as never };
    const one = (n: number) => placeHold(context, { userId: `user-${n}`, tokens: 1 }, request('key'));
    for (let n = 0; n < 10_000; n++) void one(n);
    await expect(one(10_000)).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 1 });
  });

  it('refuses to decide by what nobody has read', async () => {
    const userId = await newUser();
    const { pool, catalogue, clock } = library.context;
    const asked: AccountRequest<unknown> = {
      userId,
      now: clock.now(),
      needs: {},
      decide: (unit) => unit.entryByKey('consume:some'),
    };
    await expect(decideGroup({ pool, catalogue, waits: true }, null, [asked])).rejects.toThrow(
      'consume:some',
    );
  });

  it('that finds no database fails each request at once, and works again when there is one', async () => {
    const userId = await newUser();
    const { pool } = library.context;
    const asked = () =>
      Promise.allSettled(Array.from({ length: 30 }, (_, n) => hold(userId, 10, `cut-${n}`)));
    const outcomes = asked();
    const other = await pool.connect();
    await other.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
    );
    other.release();
    await outcomes;
    const again = await asked();
    expect(again.map(({ status }) => status)).toEqual(Array(30).fill('fulfilled'));
    expect(await readUsage(library.context, userId)).toMatchObject({ heldTokens: 300 });
  });
});
