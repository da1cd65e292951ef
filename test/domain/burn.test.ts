import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareBurnOrder, splitOverGrants } from '../../src/domain/burn.ts';

const day = (n: number): Date => new Date(Date.UTC(2026, 0, n));

const grants = fc.array(
  fc.record({
    id: fc.uuid(),
    source: fc.constantFrom('allowance' as const, 'bonus' as const, 'adjustment' as const, 'top_up' as const),
    priority: fc.integer({ min: 49, max: 51 }),
    effectiveAt: fc.integer({ min: 1, max: 3 }).map(day),
    expiresAt: fc.option(fc.integer({ min: 4, max: 6 }).map(day)),
    remainingTokens: fc.integer({ min: 0, max: 1000 }),
  }),
  { maxLength: 12 },
);

describe('burn order', () => {
  it('is priority, soonest expiry with never last, what was given before what was bought, age, id', () => {
    const base = { source: 'bonus', priority: 50, effectiveAt: day(1), expiresAt: day(9) } as const;
    const order = [
      { ...base, id: 'priority', priority: 1, expiresAt: null },
      { ...base, id: 'expiry', expiresAt: day(5) },
      { ...base, id: 'allowance', source: 'allowance' as const },
      { ...base, id: 'bonus' },
      { ...base, id: 'bonus-later', effectiveAt: day(2) },
      { ...base, id: 'bonus-later-2', effectiveAt: day(2) },
      { ...base, id: 'adjustment', source: 'adjustment' as const },
      { ...base, id: 'bought', source: 'top_up' as const },
      { ...base, id: 'never', expiresAt: null },
    ];
    expect([...order].reverse().sort(compareBurnOrder)).toEqual(order);
  });

  it('is total: the same grants burn in the same order however they were read', () => {
    fc.assert(
      fc.property(grants, fc.infiniteStream(fc.nat()), (list, noise) => {
        const shuffled = list
          .map((grant) => ({ grant, at: noise.next().value as number }))
          .sort((a, b) => a.at - b.at)
          .map(({ grant }) => grant);
        expect([...shuffled].sort(compareBurnOrder)).toEqual([...list].sort(compareBurnOrder));
      }),
      { numRuns: 2_000, verbose: true },
    );
  });

  it('splits exactly what is asked, never more than a grant has, and no later grant before an earlier one is empty', () => {
    fc.assert(
      fc.property(grants, fc.integer({ min: 0, max: 8000 }), (list, tokens) => {
        const total = list.reduce((sum, grant) => sum + grant.remainingTokens, 0);
        const parts = splitOverGrants(list, tokens);
        const taken = (id: string): number => parts.find((part) => part.grantId === id)?.tokens ?? 0;
        expect(parts.reduce((sum, part) => sum + part.tokens, 0)).toBe(Math.min(tokens, total));
        const ordered = [...list].sort(compareBurnOrder);
        ordered.forEach((grant, index) => {
          expect(taken(grant.id)).toBeLessThanOrEqual(grant.remainingTokens);
          const later = ordered.slice(index + 1).some((other) => taken(other.id) > 0);
          if (later) expect(taken(grant.id)).toBe(grant.remainingTokens);
        });
      }),
      { numRuns: 2_000, verbose: true },
    );
  });
});
