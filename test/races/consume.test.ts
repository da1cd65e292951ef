// Races on a real PostgreSQL, through the use cases: who wins may vary, what is true afterwards may not.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { TollgateError } from '../../src/errors.ts';
import { grantCredits } from '../../src/lib/grants.ts';
import { changePlan } from '../../src/lib/plans.ts';
import { readUsage, signUp, userNow } from '../../src/lib/users.ts';
import { findViolations } from '../../src/store/invariants.ts';
import { listEntries } from '../../src/store/ledger.ts';
import { bothDoors, doors } from '../support/doors.ts';
import { type Library, openLibrary, START } from '../support/library.ts';
import { request } from '../support/request.ts';

let library: Library;
let userId: string;
let users = 0;
beforeAll(async () => {
  library = await openLibrary({ maxConnections: 20 });
});
afterAll(() => library.close());
beforeEach(async () => {
  userId = `racer-${users++}`;
  library.setTime(START);
  await signUp(library.context, { userId });
});

/** The codes of those that were refused; anything but a refusal fails the test. */
async function refusals(outcomes: PromiseSettledResult<unknown>[]): Promise<string[]> {
  return outcomes.flatMap((outcome) => {
    if (outcome.status === 'fulfilled') return [];
    if (outcome.reason instanceof TollgateError) return [outcome.reason.code];
    throw outcome.reason;
  });
}

const ledgerOf = (id: string) =>
  listEntries(library.context.pool, id, { beforeSeq: Number.MAX_SAFE_INTEGER, limit: 1_000 });

describe.each(doors)('200 parallel consumes on a balance of 100 credits (decided %s)', (_name, consume) => {
  it('let exactly 100 succeed and leave nothing', async () => {
    await grantCredits(
      library.context,
      { userId, tokens: 95 * 2_000, source: 'bonus', reason: 'to a hundred' },
      request('grant'),
    );
    const outcomes = await Promise.allSettled(
      Array.from({ length: 200 }, (_, n) => consume(library.context, { userId }, request(`consume-${n}`))),
    );
    expect(await refusals(outcomes)).toEqual(Array.from({ length: 100 }, () => 'insufficient_credits'));
    expect(await readUsage(library.context, userId)).toMatchObject({
      availableTokens: 0,
      totalTokensUsed: 200_000,
    });
    expect((await ledgerOf(userId)).filter((entry) => entry.type === 'consumed')).toHaveLength(100);
    expect(await findViolations(library.context.pool)).toEqual([]);
  });
});

describe.each(doors)('a reader beside 100 consumes (decided %s)', (_name, consume) => {
  it('never sees a balance that is not the sum of its grants', async () => {
    for (let n = 0; n < 5; n++) {
      const bonus = { userId, tokens: 40_000, source: 'bonus' as const, reason: 'many grants' };
      await grantCredits(library.context, bonus, request(`grant-${n}`));
    }
    let isRunning = true;
    const take = (n: number) => consume(library.context, { userId }, request(`beside-${n}`));
    const twoByTwo = async () => {
      for (let n = 0; n < 100; n += 2) await Promise.all([take(n), take(n + 1)]);
    };
    const consumes = twoByTwo().finally(() => {
      isRunning = false;
    });
    let reads = 0;
    while (isRunning) {
      const { availableTokens, totalTokensUsed, balances } = await readUsage(library.context, userId);
      expect(balances.reduce((sum, { remainingTokens }) => sum + remainingTokens, 0)).toBe(availableTokens);
      expect(availableTokens + totalTokensUsed).toBe(210_000);
      reads++;
    }
    await consumes;
    expect(reads).toBeGreaterThan(5);
  });
});

describe.each(doors)('50 parallel requests with one key (decided %s)', (_name, consume) => {
  it('take one effect and get 50 equal answers', async () => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => consume(library.context, { userId }, request('the-one-key'))),
    );
    expect(new Set(answers.map((answer) => JSON.stringify(answer.body))).size).toBe(1);
    expect(answers.filter((answer) => !answer.replayed)).toHaveLength(1);
    expect(await readUsage(library.context, userId)).toMatchObject({ availableTokens: 8_000 });
  });

  it('grant once', async () => {
    const input = { userId, tokens: 2_000, source: 'bonus' as const, reason: 'once' };
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => grantCredits(library.context, input, request('the-one-key'))),
    );
    expect(new Set(answers.map((answer) => JSON.stringify(answer.body))).size).toBe(1);
    expect(await readUsage(library.context, userId)).toMatchObject({ availableTokens: 12_000 });
  });

  it('are refused where they ask for something else, and nothing more is taken', async () => {
    await consume(library.context, { userId, credits: 1 }, request('shared', 'one credit'));
    const outcomes = await Promise.allSettled(
      Array.from({ length: 50 }, () =>
        consume(library.context, { userId, credits: 2 }, request('shared', 'two')),
      ),
    );
    expect(await refusals(outcomes)).toEqual(Array.from({ length: 50 }, () => 'idempotency_key_reused'));
    expect(await readUsage(library.context, userId)).toMatchObject({ availableTokens: 8_000 });
  });
});

describe.each(bothDoors)('changes that race for the same tokens (decided %s)', (_name, doors) => {
  it('give back once, however many refunds of one entry there are', async () => {
    const { context } = library;
    const { body } = await doors.consume(context, { userId, credits: 2 }, request('taken'));
    const input = { entryId: String(body.entryId), reason: 'race' };
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, n) => doors.refund(context, input, request(`back-${n}`))),
    );
    expect(await refusals(outcomes)).toEqual(Array.from({ length: 19 }, () => 'conflict'));
    const usage = { availableTokens: 10_000, totalTokensUsed: 0 };
    expect(await readUsage(context, userId)).toMatchObject(usage);
  });

  it('settle a hold once, whoever captures or releases it first', async () => {
    const { context } = library;
    const { body } = await doors.placeHold(context, { userId, credits: 2 }, request('held'));
    const holdId = String(body.holdId);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, n) =>
        n % 2 === 0
          ? doors.captureHold(context, { holdId, credits: 1 }, request(`capture-${n}`))
          : doors.releaseHold(context, holdId, request(`release-${n}`)),
      ),
    );
    const codes = await refusals(outcomes);
    expect(new Set(codes)).toEqual(new Set(['conflict']));
    const { availableTokens, heldTokens, totalTokensUsed } = await readUsage(context, userId);
    expect(heldTokens).toBe(0);
    expect(availableTokens + totalTokensUsed).toBe(10_000);
    // A release of what was released before is no conflict; a capture took one credit, once, or nothing.
    expect(totalTokensUsed).toBe(codes.length === 19 ? 2_000 : 0);
    expect(await findViolations(context.pool)).toEqual([]);
  });

  it('hold, take and start work for no more than there is', async () => {
    const { context } = library;
    const change = (n: number) => {
      if (n % 3 === 0) return doors.placeHold(context, { userId }, request(`hold-${n}`));
      if (n % 3 === 1) return doors.consume(context, { userId }, request(`take-${n}`));
      const input = { userId, kind: 'code_review' as const, input: {} };
      return doors.startWorkflow(context, input, request(`work-${n}`));
    };
    const outcomes = await Promise.allSettled(Array.from({ length: 30 }, (_, n) => change(n)));
    expect(await refusals(outcomes)).toEqual(Array.from({ length: 25 }, () => 'insufficient_credits'));
    const { availableTokens, heldTokens, totalTokensUsed } = await readUsage(context, userId);
    expect([availableTokens, heldTokens + totalTokensUsed]).toEqual([0, 10_000]);
    expect(await findViolations(context.pool)).toEqual([]);
  });
});

describe('signup', () => {
  it('by 30 first requests at once gives the free allowance once', async () => {
    const id = `newcomer-${users++}`;
    const made = await Promise.all(Array.from({ length: 30 }, () => signUp(library.context, { userId: id })));
    expect(made.filter(Boolean)).toHaveLength(1);
    expect(await readUsage(library.context, id)).toMatchObject({
      availableTokens: 10_000,
      totalTokens: 10_000,
    });
  });
});

describe.each(doors)('upgrade against consume against reset (decided %s)', (_name, consume) => {
  it('ends with what was granted less what was taken, each exactly once, in 25 rounds', async () => {
    for (let round = 0; round < 25; round++) {
      const id = `racer-${users++}`;
      library.setTime(START);
      await signUp(library.context, { userId: id });
      library.setTime('2026-02-28T10:00:00.000Z');
      const upgrade = changePlan(
        library.context,
        { userId: id, plan: 'pro', periodDays: 30 },
        request(`up-${round}`),
      );
      const consumes = Array.from({ length: 10 }, (_, n) =>
        consume(library.context, { userId: id }, request(`${round}-${n}`)),
      );
      const resets = Array.from({ length: 5 }, () => userNow(library.context, id));
      const outcomes = await Promise.allSettled([...consumes, upgrade, ...resets]);
      const denied = (await refusals(outcomes)).length;
      const entries = await ledgerOf(id);
      const count = (type: string): number => entries.filter((entry) => entry.type === type).length;
      expect(count('consumed')).toBe(10 - denied);
      // Signup, the second free window, and pro; the old windows leave by expiry, the rest of the second is voided.
      expect(count('granted')).toBe(3);
      const usage = await readUsage(library.context, id);
      const beforeUpgrade = entries.filter(
        (entry) => entry.type === 'consumed' && entry.balanceAfter < 11_000,
      ).length;
      expect(usage.availableTokens).toBe(200_000 - (10 - denied - beforeUpgrade) * 2_000);
      expect(usage).toMatchObject({ subscriptionTier: 'pro', totalTokensUsed: (10 - denied) * 2_000 });
    }
    expect(await findViolations(library.context.pool)).toEqual([]);
  });
});
