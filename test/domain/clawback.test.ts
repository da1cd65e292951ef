// Clawback arithmetic (docs/credits.md, "Money that goes back"): one absolute target per grant; what was spent becomes
// debt, and exactly what was taken comes back.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Account } from '../../src/domain/account.ts';
import { setClawTarget } from '../../src/domain/clawback.ts';
import { captureHold, placeHold, releaseHold } from '../../src/domain/holds.ts';
import type { Grant, Hold } from '../../src/domain/model.ts';
import { clawTarget, type PaymentMoney } from '../../src/domain/paid-lines.ts';
import { refundConsumption } from '../../src/domain/refund.ts';
import { announceSeed } from '../support/seed.ts';
import { checkInvariants, DAY, emptyAccount, START, tokensOf } from './ledger.ts';

const money = (paidMinor: number, returned: Partial<PaymentMoney> = {}): { money: PaymentMoney } => ({
  money: { paidMinor, refundedMinor: 0, disputedMinor: 0, creditedMinor: 0, ...returned },
});

function bought(account: Account, key: string, tokens: number, days: number | null = null): Grant {
  const expiresAt = days === null ? null : new Date(START.getTime() + days * DAY);
  return account.grant({ key, source: days === null ? 'top_up' : 'allowance', tokens, expiresAt });
}

const claw = (account: Account, grant: Grant, target: number): void =>
  setClawTarget(account, grant, target, 'test');
const consume = (account: Account, tokens: number): void => {
  expect(account.consume(tokens, { key: `consume:${account.user.lastSeq}` }).ok).toBe(true);
};

describe('the target', () => {
  test.each([
    ['nothing went back', money(2000), 0],
    ['a quarter', money(2000, { refundedMinor: 500 }), 50],
    ['all of it', money(2000, { refundedMinor: 2000 }), 200],
    ['rounded down', money(3, { refundedMinor: 1 }), 66],
    ['one cent of a large payment', money(100_000, { refundedMinor: 1 }), 0],
    ['refund and dispute together', money(2000, { refundedMinor: 500, disputedMinor: 1000 }), 150],
    ['capped at what was paid', money(2000, { refundedMinor: 1500, disputedMinor: 2000 }), 200],
    ['credit to the balance', money(2000, { creditedMinor: 1000 }), 100],
    ['nothing was paid', money(0, { creditedMinor: 1000 }), 0],
    ['beyond 2^53 in between', money(9_007_199_254, { refundedMinor: 4_503_599_627 }), 100],
  ])('of 200 tokens: %s', (_what, line, target) => {
    expect(clawTarget(line, 200)).toBe(target);
  });

  test('large amounts are exact', () => {
    const line = money(9_000_000_000_000_000, { refundedMinor: 8_999_999_999_999_999 });
    expect(clawTarget(line, 9_000_000_000_000_000)).toBe(8_999_999_999_999_999);
  });
});

describe('what is taken', () => {
  test('comes from what remains; what was spent becomes debt, which the next grant settles', () => {
    const account = emptyAccount();
    const grant = bought(account, 'a', 100);
    consume(account, 70);
    claw(account, grant, 50);
    expect(account.user).toMatchObject({ availableTokens: 0, debtTokens: 20 });
    expect(account.balance).toBe(-20);
    const next = bought(account, 'b', 100);
    expect(account.user).toMatchObject({ availableTokens: 80, debtTokens: 0 });
    expect(tokensOf(next)).toMatchObject({ remainingTokens: 80, settledDebtTokens: 20 });
    checkInvariants(account);
  });

  test('is never more than the grant, however often it is asked for', () => {
    const account = emptyAccount();
    const grant = bought(account, 'a', 100);
    for (const target of [50, 50, 100, 100, 100]) claw(account, grant, target);
    expect(account.entries.filter(({ type }) => type === 'voided')).toHaveLength(2);
    expect(tokensOf(grant)).toMatchObject({ clawedTokens: 100, clawDebtTokens: 0, remainingTokens: 0 });
    checkInvariants(account);
  });

  test('of credits that expired unused makes no debt', () => {
    const account = emptyAccount();
    const grant = bought(account, 'a', 100, 30);
    consume(account, 30);
    account.takeOut(grant, 'expired', 'test');
    claw(account, grant, 70);
    expect(account.user.debtTokens).toBe(0);
    claw(account, grant, 100);
    expect(account.user.debtTokens).toBe(30);
    checkInvariants(account);
  });

  test('held tokens are spent until they come back', () => {
    const account = emptyAccount();
    const grant = bought(account, 'a', 100);
    const hold = heldTokens(account, 40);
    claw(account, grant, 100);
    expect(account.user).toMatchObject({ availableTokens: 0, heldTokens: 40, debtTokens: 40 });
    releaseHold(account, hold, 'released');
    expect(account.user).toMatchObject({ availableTokens: 0, heldTokens: 0, debtTokens: 0 });
    expect(tokensOf(grant)).toMatchObject({ clawedTokens: 100, clawDebtTokens: 0 });
    checkInvariants(account);
  });

  test('a captured hold stays debt, and what is given back of the capture pays it', () => {
    const account = emptyAccount();
    const grant = bought(account, 'a', 100);
    const hold = heldTokens(account, 40);
    claw(account, grant, 100);
    captureHold(account, hold, 40, { key: 'capture' });
    expect(account.user.debtTokens).toBe(40);
    refundAll(account, 15);
    expect(account.user).toMatchObject({ availableTokens: 0, debtTokens: 25 });
    checkInvariants(account);
  });
});

describe('what comes back', () => {
  test('is exactly what was taken: debt first, then tokens', () => {
    const account = emptyAccount();
    const grant = bought(account, 'a', 100);
    consume(account, 70);
    claw(account, grant, 100);
    expect(account.user).toMatchObject({ availableTokens: 0, debtTokens: 70 });
    claw(account, grant, 60);
    expect(account.user).toMatchObject({ availableTokens: 0, debtTokens: 30 });
    claw(account, grant, 0);
    expect(account.user).toMatchObject({ availableTokens: 30, debtTokens: 0 });
    expect(tokensOf(grant)).toMatchObject({ clawedTokens: 0, clawDebtTokens: 0, remainingTokens: 30 });
    checkInvariants(account);
  });

  test('goes to the grant that had settled the debt meanwhile', () => {
    const account = emptyAccount();
    const grant = bought(account, 'a', 100);
    consume(account, 100);
    claw(account, grant, 100);
    const small = bought(account, 'b', 60);
    const next = bought(account, 'c', 100);
    expect(account.user).toMatchObject({ availableTokens: 60, debtTokens: 0 });
    expect([small.settledDebtTokens, next.settledDebtTokens]).toEqual([60, 40]);
    claw(account, grant, 0);
    expect(account.user).toMatchObject({ availableTokens: 160, debtTokens: 0 });
    expect([small.remainingTokens, next.remainingTokens]).toEqual([60, 100]);
    checkInvariants(account);
  });

  test('to a grant that has expired meanwhile leaves again', () => {
    const account = emptyAccount();
    const grant = bought(account, 'a', 100, 30);
    claw(account, grant, 80);
    account.now = new Date(START.getTime() + 31 * DAY);
    account.takeOut(grant, 'expired', 'test');
    claw(account, grant, 0);
    expect(tokensOf(grant)).toMatchObject({ remainingTokens: 0, expiredTokens: 100, clawedTokens: 0 });
    expect(account.balance).toBe(0);
    checkInvariants(account);
  });
});

function heldTokens(account: Account, tokens: number): Hold {
  const expiresAt = new Date(START.getTime() + DAY);
  const input = { id: 'hold', key: 'hold', tokens, feature: null, metadata: null, expiresAt };
  const hold = placeHold(account, input);
  if (!hold) throw new Error('The balance is too small to hold.');
  return hold;
}

/** Gives back tokens of the newest consumption. */
function refundAll(account: Account, tokens: number): void {
  const entry = account.entries.findLast(({ type }) => type === 'consumed');
  if (!entry) return;
  const consumption = {
    ...entry,
    parts: entry.parts.map((part) => ({ ...part, tokens: -part.tokens })),
    refundedTokens: 0,
  };
  refundConsumption(account, consumption, tokens, { key: `refund:${account.user.lastSeq}` });
}

// ── Any order ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** A refund, a dispute or a credit note of one of two payments; an undone one is known, then void. */
interface Fact {
  payment: 0 | 1;
  minor: number;
  kind: keyof Omit<PaymentMoney, 'paidMinor' | 'returnedAt'>;
  isUndone: boolean;
}
interface Story {
  paid: [number, number];
  tokens: [number, number];
  spentPercent: number;
  heldPercent: number;
  facts: Fact[];
}

const KINDS = ['refundedMinor', 'disputedMinor', 'creditedMinor'] as const;
const stories: fc.Arbitrary<Story> = fc.record({
  paid: fc.tuple(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 0, max: 5000 })),
  tokens: fc.tuple(fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 1, max: 2000 })),
  spentPercent: fc.integer({ min: 0, max: 100 }),
  heldPercent: fc.integer({ min: 0, max: 100 }),
  facts: fc.array(
    fc.record({
      payment: fc.constantFrom<0 | 1>(0, 1),
      minor: fc.integer({ min: 1, max: 3000 }),
      kind: fc.constantFrom(...KINDS),
      isUndone: fc.boolean(),
    }),
    { maxLength: 6 },
  ),
});

/** What is known of each fact: nothing, that it happened, that it was undone. */
type Knowledge = (0 | 1 | 2)[];

class Telling {
  readonly account = emptyAccount();
  readonly grants: [Grant, Grant];
  hold: Hold | null = null;

  constructor(readonly story: Story) {
    const { account } = this;
    this.grants = [bought(account, 'a', story.tokens[0], 30), bought(account, 'b', story.tokens[1])];
    const spent = Math.floor((account.user.availableTokens * story.spentPercent) / 100);
    if (spent > 0) consume(account, spent);
    const held = Math.floor((account.user.availableTokens * story.heldPercent) / 100);
    if (held > 0) this.hold = heldTokens(account, held);
  }

  /** As settle() does: every grant gets the target that all known facts say. */
  settle(known: Knowledge): void {
    for (const payment of [0, 1] as const) {
      const returned = { refundedMinor: 0, disputedMinor: 0, creditedMinor: 0 };
      this.story.facts.forEach((fact, index) => {
        if (fact.payment === payment && known[index] === 1) returned[fact.kind] += fact.minor;
      });
      const line = money(this.story.paid[payment], returned);
      const grant = this.grants[payment];
      claw(this.account, grant, clawTarget(line, grant.amountTokens));
    }
    checkInvariants(this.account);
  }

  /** What happens beside the facts, in its own order. */
  readonly events: Record<string, () => void> = {
    'a hold is released': () => {
      if (this.hold) releaseHold(this.account, this.hold, 'released');
    },
    'a consumption is given back': () => refundAll(this.account, 1),
    'the next grant lands': () => void bought(this.account, 'next', 500),
    'the allowance expires': () => {
      this.account.now = new Date(START.getTime() + 31 * DAY);
      this.account.takeOut(this.grants[0], 'expired', 'test');
    },
  };

  finish(): object {
    checkInvariants(this.account);
    return {
      balance: this.account.balance,
      available: this.account.user.availableTokens,
      debt: this.account.user.debtTokens,
      grants: [...this.account.grants.values()].map(tokensOf),
    };
  }
}

/** A way to learn all facts: orders with repetitions, each fact known at last as it is at last. */
const tellings = stories.chain((story) => {
  const last: Knowledge = story.facts.map(({ isUndone }) => (isUndone ? 2 : 1));
  const steps = story.facts.flatMap(({ isUndone }, index) => (isUndone ? [index, index] : [index]));
  const order = fc.shuffledSubarray(steps, { minLength: steps.length });
  return fc.record({
    story: fc.constant(story),
    last: fc.constant(last),
    order,
    repeats: fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }),
    at: fc.array(fc.nat(12), { minLength: 4, maxLength: 4 }),
  });
});

function knowledgeAlong(story: Story, order: readonly number[], repeats: readonly boolean[]): Knowledge[] {
  const known: Knowledge = story.facts.map(() => 0);
  return order.flatMap((index, step) => {
    known[index] = known[index] === 1 ? 2 : 1;
    return repeats[step] ? [[...known], [...known]] : [[...known]];
  });
}

const RUNS = 3_000;

describe('any order and repetition of the same facts', () => {
  test(`ends in the same grants, over ${RUNS} stories; every invariant holds after each of them`, () => {
    const property = fc.property(tellings, ({ story, last, order, repeats }) => {
      const atOnce = new Telling(story);
      atOnce.settle(last);
      const bitByBit = new Telling(story);
      for (const known of knowledgeAlong(story, order, repeats)) bitByBit.settle(known);
      expect(bitByBit.finish()).toEqual(atOnce.finish());
    });
    fc.assert(property, { seed: announceSeed('clawback order'), numRuns: RUNS });
  });

  test(`ends in the same balance whatever happens in between, over ${RUNS} stories`, () => {
    const property = fc.property(tellings, ({ story, last, order, repeats, at }) => {
      const before = new Telling(story);
      before.settle(last);
      for (const happen of Object.values(before.events)) happen();
      const between = new Telling(story);
      const steps = knowledgeAlong(story, order, repeats);
      const events = Object.values(between.events);
      const places = [...at].sort((a, b) => a - b);
      for (let step = 0; step <= Math.max(12, steps.length); step++) {
        while (events.length > 0 && places[4 - events.length]! <= step) {
          events.shift()?.();
          checkInvariants(between.account);
        }
        const known = steps[step];
        if (known) between.settle(known);
      }
      expect(between.account.balance).toBe(before.account.balance);
      between.settle(last);
      before.settle(last);
      expect(between.finish()).toMatchObject({ balance: before.account.balance });
    });
    fc.assert(property, { seed: announceSeed('clawback in between'), numRuns: RUNS });
  });
});
