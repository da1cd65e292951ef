// Nobody gains by flipping: whatever is changed, cancelled and bought again, and however the news of it comes, a window
// gives no more tokens than the best that was paid for in it (docs/credits.md).
import { expect, test } from 'vitest';
import type { ActionName } from '../../sim/actions.ts';
import { CATALOGUE } from '../../sim/catalogue.ts';
import { inChaos, inOrder, run } from '../../sim/deliver.ts';
import { newHistory } from '../../sim/history.ts';
import { Ledger } from '../../sim/ledger.ts';
import { Random } from '../../sim/random.ts';
import { agreementsOf } from '../../src/domain/agreements.ts';
import { tokensKept } from '../../src/domain/landing.ts';
import type { Grant } from '../../src/domain/model.ts';
import type { PaidLine } from '../../src/domain/paid-lines.ts';
import { planDefinition, TOKENS_PER_CREDIT } from '../../src/domain/plans.ts';
import { announceSeed } from '../support/seed.ts';

const RUNS = 2_000;
const FLIPS: ActionName[] = [
  ...Array.from({ length: 12 }, () => 'changeNow' as const),
  ...Array.from({ length: 4 }, () => 'subscribe' as const),
  'changeAtPeriodEnd',
  'cancelNow',
  'changeCard',
  'payOpenInvoice',
  'endTrial',
];

/**
 * What windows have given beyond the best that was paid for in them. Of a month that landed before we heard of the change
 * that took it over, what has left it unused does not count.
 */
function excess({ account, facts }: Ledger): string[] {
  const grants = [...account.grants.values()].filter(({ invoiceId }) => invoiceId !== null);
  const bought = new Set(agreementsOf(CATALOGUE, facts).flatMap(({ keys }) => [...keys]));
  const fulls = grants.filter(({ windowKind }) => windowKind === 'full');
  return fulls.flatMap((full) => {
    const given = grants
      .filter((grant) => grant === full || (grant.windowKind === 'delta' && windowOf(grant, fulls) === full))
      .reduce((sum, grant) => sum + (bought.has(grant.key) ? grant.amountTokens : tokensKept([grant])), 0);
    const best = Math.max(...facts.lines.map((line) => entitlement(line, full)));
    return given > best ? [`${full.key}: ${given} given, ${best} paid for`] : [];
  });
}

/** The newest window that a change lies in: of those that end with it, as the one does that it fills up, where there is one. */
function windowOf(delta: Grant, fulls: readonly Grant[]): Grant | undefined {
  const around = windowsAround(delta, fulls);
  return around.find(({ windowEnd }) => windowEnd?.getTime() === delta.windowEnd?.getTime()) ?? around[0];
}

function windowsAround(delta: Grant, fulls: readonly Grant[]): Grant[] {
  return fulls
    .filter(
      ({ subscriptionItemId, windowStart, windowEnd }) =>
        subscriptionItemId === delta.subscriptionItemId &&
        windowStart! <= delta.windowStart! &&
        delta.windowStart! < windowEnd!,
    )
    .sort((a, b) => Number(b.windowStart) - Number(a.windowStart));
}

function entitlement(line: PaidLine, { subscriptionItemId, windowStart, windowEnd }: Grant): number {
  const buys = line.kind === 'full' || line.kind === 'trial' || line.kind === 'delta';
  const overlaps = line.itemId === subscriptionItemId && line.start < windowEnd! && line.end > windowStart!;
  if (!buys || !overlaps || line.offer === null) return 0;
  return planDefinition(CATALOGUE, line.offer).creditsPerPeriod * TOKENS_PER_CREDIT * line.quantity;
}

test.each(['in order', 'in chaos'])(
  'flips between plans, seats, months and years, heard of %s',
  (how) => {
    const from = announceSeed(`sum rule ${how}`);
    let changes = 0;
    for (let seed = from; seed < from + RUNS; seed++) {
      const { played } = newHistory(seed, (random) => random.pick(FLIPS));
      const { world, quietAt } = played;
      const ledger = new Ledger(world, world.bornAt);
      const happenings =
        how === 'in order'
          ? inOrder(world, -Infinity, quietAt)
          : inChaos(world, -Infinity, quietAt, new Random(seed));
      run(ledger, happenings, ({ what }) => {
        const found = excess(ledger);
        if (found.length > 0) expect.fail(`seed ${seed}, after ${what}: ${found.join('; ')}`);
      });
      changes += [...ledger.account.grants.values()].filter(
        ({ windowKind }) => windowKind === 'delta',
      ).length;
    }
    expect(changes).toBeGreaterThan(RUNS / 2);
  },
  300_000,
);
