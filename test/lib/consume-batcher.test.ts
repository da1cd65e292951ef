// What a batch of consumes promises beyond what the races and the ledger's properties prove of both ways in.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TollgateError } from '../../src/errors.ts';
import { ConsumeBatcher, type PendingConsume } from '../../src/lib/consume-batcher.ts';
import { consumeEach } from '../../src/lib/consume-each.ts';
import { consume } from '../../src/lib/credits.ts';
import { grantCredits } from '../../src/lib/grants.ts';
import { captureHold, placeHold } from '../../src/lib/holds.ts';
import { refund } from '../../src/lib/refunds.ts';
import { type ChangeRequest, requestHash } from '../../src/lib/requests.ts';
import { readUsage, signUp } from '../../src/lib/users.ts';
import { bucketOf } from '../../src/store/bucket.ts';
import { findViolations } from '../../src/store/invariants.ts';
import { alone, type Door, inBatch } from '../support/doors.ts';
import { type Library, openLibrary, START } from '../support/library.ts';
import { waitForLocksForEver } from '../support/locks.ts';
import { rowsOf } from '../support/rows.ts';
import { announceSeed } from '../support/seed.ts';

const CONNECTIONS = 20;

let library: Library;
let users = 0;

const request = (key: string, content: unknown = key): ChangeRequest => ({
  key,
  scope: 'test',
  hash: requestHash(content),
  requestId: `request-${key}`,
  actor: 'test',
});

interface Bonus {
  tokens: number;
  source: 'bonus' | 'adjustment';
  /** Null = never. */
  expiresInDays: number | null;
}

const bonus = (tokens: number): Bonus => ({ tokens, source: 'bonus', expiresInDays: null });

/** With 10,000 tokens, and one grant a second. */
async function newUser(bonuses: Bonus[] = []): Promise<string> {
  const userId = `batched-${users++}`;
  const start = Date.parse(START);
  await signUp(library.context, { userId });
  for (const [n, { tokens, source, expiresInDays }] of bonuses.entries()) {
    const context = library.with({ now: () => new Date(start + n * 1_000) });
    const expiresAt = expiresInDays === null ? undefined : new Date(start + expiresInDays * 86_400_000);
    await grantCredits(context, { userId, tokens, source, expiresAt, reason: 'test' }, request(`bonus-${n}`));
  }
  return userId;
}

const spend = (userId: string, tokens: number, key: string) =>
  consume(library.context, { userId, tokens }, request(key));

describe.each([
  ['in one lane, on one PostgreSQL', false],
  ['in a lane for each bucket, as on Citus', true],
])('%s:', (_, isDistributed) => {
  beforeAll(async () => {
    library = await openLibrary({ maxConnections: CONNECTIONS, isDistributed });
  });
  afterAll(() => library.close());

  describe('a batch', () => {
    it('writes row for row what the same requests write one by one', async () => {
      const seed = announceSeed('batch against one by one');
      const tokens = fc.oneof(fc.integer({ min: 1, max: 9_000 }), fc.constantFrom(500, 2_000, 10_000));
      const history = fc.record({
        bonuses: fc.array(
          fc.record<Bonus>({
            tokens,
            source: fc.constantFrom('bonus', 'adjustment'),
            expiresInDays: fc.constantFrom(null, 20, 28, 40),
          }),
          { maxLength: 6 },
        ),
        consumes: fc.array(fc.record({ tokens, key: fc.nat(15), isNoted: fc.boolean() }), { maxLength: 25 }),
      });
      const live = async (
        door: Door,
        { bonuses, consumes }: typeof history extends fc.Arbitrary<infer T> ? T : never,
      ) => {
        const userId = await newUser(bonuses);
        const answers = [];
        for (const { tokens, key, isNoted } of consumes) {
          const metadata = isNoted ? { note: `"${key}" \\ {é, NULL}`, deep: [1, null] } : undefined;
          const asked = request(`key ${key} "\\,{}`, [tokens, isNoted]);
          answers.push(
            await door(library.context, { userId, tokens, metadata }, asked).catch((error: unknown) => {
              if (error instanceof TollgateError) return [error.code, error.message, error.members];
              throw error;
            }),
          );
        }
        const text = JSON.stringify(answers).replace(/"(entryId|grantId)":"[^"]+"/g, '"$1"');
        return { answers: text, rows: await rowsOf(library.context.pool, userId, ['next_due_at']) };
      };
      await fc.assert(
        fc.asyncProperty(history, async (lived) => {
          expect(await live(inBatch, lived)).toEqual(await live(alone, lived));
        }),
        { seed, numRuns: 60 },
      );
    }, 120_000);

    it('decides requests of many users and many of one user, each by itself, and every unit is accounted for', async () => {
      const ids = await Promise.all(
        Array.from({ length: 20 }, () => newUser([3_000, 500, 7_000].map(bonus))),
      );
      const asked = ids.flatMap((userId, u) =>
        Array.from({ length: 40 }, (_, n) => ({
          userId,
          tokens: 1 + ((u * 31 + n * 977) % 2_500),
          key: `many-${n % 33}`,
        })),
      );
      const outcomes = await Promise.allSettled(asked.map((one) => spend(one.userId, one.tokens, one.key)));
      for (const userId of ids) {
        const taken = new Map<string, number>();
        outcomes.forEach((outcome, index) => {
          if (outcome.status === 'fulfilled' && asked[index]!.userId === userId) {
            taken.set(String(outcome.value.body.entryId), outcome.value.body.tokensUsed);
          }
        });
        const spent = [...taken.values()].reduce((sum, tokens) => sum + tokens, 0);
        expect(await readUsage(library.context, userId)).toMatchObject({
          totalTokensUsed: spent,
          availableTokens: 20_500 - spent,
        });
        // What is left pays for none of those that were refused.
        const refused = outcomes.flatMap((outcome, index) =>
          outcome.status === 'rejected' &&
          outcome.reason.code === 'insufficient_credits' &&
          asked[index]!.userId === userId
            ? [asked[index]!.tokens]
            : [],
        );
        expect(Math.min(...refused)).toBeGreaterThan(20_500 - spent);
      }
      expect(await findViolations(library.context.pool)).toEqual([]);
    });

    it('of one user in a row keeps their order, and a repeat in the next one has no second effect', async () => {
      const userId = await newUser();
      const keyOf = (n: number) => `row-${Math.floor(n / 2)}`;
      // What a flush takes is known after the first: from then on small batches go in a row.
      await spend(userId, 1, 'first');
      for (let wave = 0; wave < 10; wave++) {
        const from = wave * 60;
        // Thirty keys, and all of them again: of sixty requests that come at once the second half is another batch.
        const numbers = Array.from({ length: 60 }, (_, n) => from + (n % 30) * 2 + Math.floor(n / 30));
        const answers = await Promise.all(numbers.map((n) => spend(userId, 1, keyOf(n))));
        const entries = answers.map(({ body }) => body.entryId);
        expect(entries.slice(30)).toEqual(entries.slice(0, 30));
        expect(answers.map(({ replayed }) => replayed)).toEqual(answers.map((_, n) => n >= 30));
        const used = answers.slice(0, 30).map(({ body }) => body.totalTokensUsed);
        expect(used).toEqual(used.map((_, n) => 2 + wave * 30 + n));
      }
      expect(await readUsage(library.context, userId)).toMatchObject({ totalTokensUsed: 301 });
      expect(await findViolations(library.context.pool)).toEqual([]);
    });

    it('of one user in a row, and whole ones beside them lose and double nothing', async () => {
      const userIds = [await newUser([bonus(1_000_000)]), await newUser([bonus(1_000_000)])];
      const [hot = '', other = ''] = userIds;
      let spent = 1;
      await spend(hot, 1, 'first');
      const caller = async (n: number): Promise<void> => {
        for (let turn = 0; turn < 12; turn++) {
          spent += 1 + n;
          await spend(hot, 1 + n, `caller-${n}-${turn}`);
          // As a client that gave up waiting does.
          if (turn % 3 === 0) await spend(hot, 1 + n, `caller-${n}-${turn}`);
        }
      };
      const batch = (name: string) => {
        const items = Array.from({ length: 300 }, (_, n) => ({
          userId: n % 3 === 0 ? hot : other,
          tokens: 2,
          key: `${name}-${n}`,
        }));
        spent += 200;
        return consumeEach(library.context, items, ({ key }) => request(key));
      };
      const [, ...batches] = await Promise.all([
        Promise.all(Array.from({ length: 48 }, (_, n) => caller(n))),
        batch('one'),
        batch('two'),
      ]);
      for (const outcomes of batches) expect(outcomes.every((outcome) => 'result' in outcome)).toBe(true);
      expect(await readUsage(library.context, hot)).toMatchObject({ totalTokensUsed: spent });
      expect(await readUsage(library.context, other)).toMatchObject({ totalTokensUsed: 800 });
      expect(await findViolations(library.context.pool)).toEqual([]);
    });

    it('beside holds, captures, refunds and grants of the same users loses and doubles nothing', async () => {
      const ids = await Promise.all(Array.from({ length: 5 }, () => newUser([bonus(200_000)])));
      const round = async (userId: string, n: number): Promise<number> => {
        const { context } = library;
        const hold = await placeHold(context, { userId, tokens: 300 }, request(`hold-${n}`));
        const taken = await spend(userId, 100, `take-${n}`);
        await captureHold(context, { holdId: String(hold.body.holdId), tokens: 50 }, request(`capture-${n}`));
        const input = { userId, tokens: 10, source: 'bonus' as const, reason: 'beside' };
        await grantCredits(context, input, request(`beside-${n}`));
        if (n % 2 === 0) return 150;
        await refund(context, { entryId: String(taken.body.entryId), reason: 'test' }, request(`back-${n}`));
        return 50;
      };
      const used = await Promise.all(
        ids.map(async (userId) =>
          (await Promise.all(Array.from({ length: 20 }, (_, n) => round(userId, n)))).reduce(
            (a, b) => a + b,
            0,
          ),
        ),
      );
      for (const [index, userId] of ids.entries()) {
        expect(await readUsage(library.context, userId)).toMatchObject({
          totalTokensUsed: used[index],
          availableTokens: 210_000 + 200 - used[index]!,
          heldTokens: 0,
        });
      }
      expect(await findViolations(library.context.pool)).toEqual([]);
    });
  });

  describe('one request never harms its neighbours', () => {
    it('where its user is locked by somebody, the others are answered meanwhile', async () => {
      const [locked, ...free] = await Promise.all(Array.from({ length: 10 }, () => newUser()));
      await waitForLocksForEver(library.context.pool);
      const other = await library.context.pool.connect();
      await other.query('begin');
      await other.query('select 1 from users where bucket = $1 and id = $2 for update', [
        bucketOf(locked!),
        locked,
      ]);
      const waiting = Promise.all([spend(locked!, 100, 'waits-1'), spend(locked!, 100, 'waits-2')]);
      await Promise.all(free.map((userId) => spend(userId, 100, 'passes')));
      await Promise.all(free.map((userId) => spend(userId, 100, 'passes again')));
      await other.query('commit');
      other.release();
      expect((await waiting).map(({ body }) => body.availableTokens).sort()).toEqual([9_800, 9_900]);
    });

    it('where it makes the whole statement fail, the others are decided alone', async () => {
      const [poisoned, ...sound] = await Promise.all(Array.from({ length: 10 }, () => newUser()));
      const outcomes = await Promise.allSettled([
        consume(library.context, { userId: poisoned!, metadata: { text: '\u0000' } }, request('poison')),
        spend(poisoned!, 100, 'sound, of the same user'),
        ...sound.map((userId) => spend(userId, 100, 'sound')),
      ]);
      expect(outcomes.map(({ status }) => status)).toEqual(['rejected', ...Array(10).fill('fulfilled')]);
      expect(await readUsage(library.context, poisoned!)).toMatchObject({ availableTokens: 9_900 });
    });

    it('where its user is unknown or has something due, each gets its own answer', async () => {
      const [due, dueOnce, sound] = [await newUser(), await newUser(), await newUser()];
      await spend(dueOnce, 1_000, 'before the reset');
      library.setTime('2026-02-28T10:00:00.000Z');
      const later = await newUser();
      const outcomes = await Promise.allSettled([
        spend('nobody at all', 100, 'unknown'),
        spend(dueOnce, 2_000, 'after the reset'),
        ...Array.from({ length: 5 }, (_, n) => spend(due, 2_000, `after the reset ${n}`)),
        spend(later, 100, 'sound'),
      ]);
      library.setTime(START);
      expect(
        outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason.code : 'taken')),
      ).toEqual(['not_found', ...Array(7).fill('taken')]);
      expect(await readUsage(library.context, dueOnce)).toMatchObject({
        availableTokens: 8_000,
        totalTokensUsed: 3_000,
      });
      expect(await readUsage(library.context, due)).toMatchObject({
        availableTokens: 0,
        totalTokensUsed: 10_000,
      });
      expect(await readUsage(library.context, sound)).toMatchObject({ availableTokens: 10_000 });
    });
  });

  describe('the queue', () => {
    const pending = (n: number): PendingConsume => ({
      userId: `user-${n}`,
      key: 'key',
      tokens: 1,
      requestHash: Buffer.alloc(16),
      feature: null,
      metadata: null,
      requestId: null,
      now: new Date(START),
      decideOtherwise: () => Promise.reject(new Error('not asked for')),
    });

    it('takes no more than 10,000 requests and refuses the next with `unavailable` and Retry-After', async () => {
      const never = { query: () => new Promise(() => {}) };
      const batcher = new ConsumeBatcher(never as never);
      for (let n = 0; n < 9_999; n++) void batcher.decide(pending(n));
      void batcher.decideEach([pending(9_999)]);
      expect(batcher.waiting).toBe(10_000);
      const refusal = { code: 'unavailable', retryAfterSeconds: 1 };
      await expect(batcher.decide(pending(10_000))).rejects.toMatchObject(refusal);
      expect(await batcher.decideEach([pending(10_001), pending(10_002)])).toMatchObject([
        { error: refusal },
        { error: refusal },
      ]);
      expect(batcher.waiting).toBe(10_000);
    });

    it('answers several that were asked together in their order, the refused among them, and none at once', async () => {
      const { pool } = library.context;
      const batcher = new ConsumeBatcher(pool);
      const userIds = [await newUser(), 'nobody', await newUser()];
      const asked = userIds.map((userId, n) => ({
        ...pending(n),
        userId,
        key: `together-${n}`,
        tokens: n + 1,
        now: library.context.clock.now(),
      }));
      expect(await batcher.decideEach(asked)).toMatchObject([
        { result: { outcome: 'taken', entry: { tokens: -1 } } },
        { error: { message: 'not asked for' } },
        { result: { outcome: 'taken', entry: { tokens: -3 } } },
      ]);
      expect(await batcher.decideEach([])).toEqual([]);
      expect(batcher.waiting).toBe(0);
    });

    it('that finds no database fails each request at once, and works again when there is one', async () => {
      const userId = await newUser();
      const { pool } = library.context;
      const { rows } = await pool.query<{ pid: number }>('select pg_backend_pid() as pid');
      const outcomes = Promise.allSettled(
        Array.from({ length: 30 }, (_, n) => spend(userId, 10, `cut-${n}`)),
      );
      const other = await pool.connect();
      await other.query(
        'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
      );
      other.release();
      expect(rows).toHaveLength(1);
      await outcomes;
      const again = await Promise.all(Array.from({ length: 30 }, (_, n) => spend(userId, 10, `cut-${n}`)));
      expect(new Set(again.map(({ body }) => body.entryId)).size).toBe(30);
      expect(await readUsage(library.context, userId)).toMatchObject({ totalTokensUsed: 300 });
    });
  });
});
