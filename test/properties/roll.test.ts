// Decision 0003: whoever comes late writes what a punctual visitor would have written, so the ledger does not depend
// on whether the workers ran.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { grantCredits } from '../../src/lib/grants.ts';
import { placeHold } from '../../src/lib/holds.ts';
import { changePlan } from '../../src/lib/plans.ts';
import { signUp, userNow } from '../../src/lib/users.ts';
import { findViolationsOf } from '../../src/store/invariants.ts';
import { listEntries } from '../../src/store/ledger.ts';
import { type Library, openLibrary } from '../support/library.ts';
import { request } from '../support/request.ts';
import { announceSeed } from '../support/seed.ts';

const DAY = 86_400_000;
const RUNS = 60;

let library: Library;
beforeAll(async () => {
  library = await openLibrary();
});
afterAll(() => library.close());

interface Life {
  born: number;
  plan: 'free' | 'pro' | 'enterprise';
  planDays: number;
  bonusDays: number | null;
  holdSeconds: number;
  days: number;
}

let users = 0;

/** Lives a life that is looked at every `visitEveryDays` days, and tells its ledger. */
async function ledgerOf(life: Life, visitEveryDays: number): Promise<object[]> {
  const userId = `life-${users++}`;
  let now = life.born;
  const context = library.with({ now: () => new Date(now) });
  await signUp(context, { userId });
  if (life.plan !== 'free') {
    await changePlan(context, { userId, plan: life.plan, periodDays: life.planDays }, request('plan'));
  }
  const expiresAt = life.bonusDays === null ? undefined : new Date(now + life.bonusDays * DAY);
  const bonus = { userId, tokens: 5_000, source: 'bonus' as const, expiresAt, reason: 'test' };
  await grantCredits(context, bonus, request('bonus'));
  await placeHold(context, { userId, tokens: 3_000, expiresInSeconds: life.holdSeconds }, request('hold'));
  const end = life.born + life.days * DAY;
  while (now < end) {
    now = Math.min(now + visitEveryDays * DAY, end);
    await userNow(context, userId);
  }
  expect(await findViolationsOf(context.pool, userId)).toEqual([]);
  const entries = await listEntries(context.pool, userId, {
    beforeSeq: Number.MAX_SAFE_INTEGER,
    limit: 1_000,
  });
  return entries.map(({ seq, type, tokens, balanceAfter, availableAfter, reason, createdAt }) => ({
    ...{ seq, type, tokens, balanceAfter, availableAfter, reason },
    createdAt: createdAt.toISOString(),
  }));
}

const lives = fc.record<Life>({
  born: fc.integer({ min: Date.UTC(2027, 0, 28), max: Date.UTC(2028, 2, 2) }),
  plan: fc.constantFrom('free', 'pro', 'enterprise'),
  planDays: fc.integer({ min: 1, max: 100 }),
  bonusDays: fc.option(fc.integer({ min: 1, max: 100 })),
  holdSeconds: fc.integer({ min: 1, max: 86_400 }),
  days: fc.integer({ min: 1, max: 400 }),
});

describe('a user who is looked at once at the end', () => {
  it('has the same ledger, to the millisecond, as one who is looked at every other day', async () => {
    const property = fc.asyncProperty(lives, async (life) => {
      expect(await ledgerOf(life, 1_000)).toEqual(await ledgerOf(life, 2));
    });
    await fc.assert(property, { seed: announceSeed('late roll'), numRuns: RUNS });
  }, 300_000);
});
