/** What was agreed and paid, subscription by subscription. Pure. */
import type { Grant } from './model.ts';
import type { PaidLine } from './paid-lines.ts';
import type { Catalogue } from './plans.ts';
import { paidUntil, type SubscriptionState } from './subscription.ts';
import { boughtWith, type Landing } from './windows.ts';

/** All that Stripe has told of one user. */
export interface Facts {
  readonly subscriptions: readonly SubscriptionState[];
  readonly lines: readonly PaidLine[];
}

/** A subscription with all that was paid for it. */
export interface Agreement {
  subscription: SubscriptionState;
  lines: readonly PaidLine[];
  /** What its lines buy, by the start of the windows. */
  landings: readonly Landing[];
  keys: ReadonlySet<string>;
  paidEnd: Date | null;
  /** Ids of lines that give a trial to somebody who has had one of this plan. */
  trialsAgain: ReadonlySet<string>;
  /** Lines for a window that another line has paid for. */
  paidTwice: readonly PaidLine[];
}

/** What follows from facts alone. */
interface Known {
  readonly facts: Facts;
  readonly catalogue: Catalogue;
  readonly agreements: readonly Agreement[];
  /** By what a grant says of its line; made when it is first asked for. */
  linesByGrant: ReadonlyMap<string, PaidLine> | undefined;
}

/**
 * Of the last facts, since a user is settled and rolled by the same ones several times in a row. No WeakMap: a young
 * value of an old one survives every minor collection.
 */
let last: Known | undefined;

function knownOf(catalogue: Catalogue, facts: Facts): Known {
  if (last?.facts === facts && last.catalogue === catalogue) return last;
  const before = last?.catalogue === catalogue ? last.agreements : [];
  const agreements = facts.subscriptions
    .map((subscription) => agreementOf(catalogue, subscription, facts, before))
    .sort(oldestFirst);
  last = { facts, catalogue, agreements, linesByGrant: undefined };
  return last;
}

/** Oldest first: of two live subscriptions the older one counts. */
export function agreementsOf(catalogue: Catalogue, facts: Facts): readonly Agreement[] {
  return knownOf(catalogue, facts).agreements;
}

/** The line that a grant was bought with. */
export function lineOf(
  catalogue: Catalogue,
  facts: Facts,
  { key, invoiceLineId }: Grant,
): PaidLine | undefined {
  const known = knownOf(catalogue, facts);
  known.linesByGrant ??= new Map(
    facts.lines.map((line) => [line.kind === 'pack' ? line.key : line.lineId, line]),
  );
  return known.linesByGrant.get(invoiceLineId ?? key);
}

/** @param before of other facts: most news is of a subscription and not of what was paid for it */
function agreementOf(
  catalogue: Catalogue,
  subscription: SubscriptionState,
  facts: Facts,
  before: readonly Agreement[],
): Agreement {
  const lines = facts.lines.filter(({ subscriptionId }) => subscriptionId === subscription.id);
  const same = before.find((one) => isSame(one.lines, lines));
  const { landings, paidTwice } = same ?? boughtWith(catalogue, lines);
  const trials = isTrialAgain(subscription, facts) ? lines.filter(({ kind }) => kind === 'trial') : [];
  return {
    subscription,
    lines,
    landings,
    keys: same?.keys ?? new Set(landings.map(({ key }) => key)),
    paidEnd: paidUntil(lines),
    trialsAgain: new Set(trials.map(({ lineId }) => lineId)),
    paidTwice,
  };
}

function isSame(a: readonly PaidLine[], b: readonly PaidLine[]): boolean {
  return a.length === b.length && a.every((line, index) => line === b[index]);
}

function oldestFirst({ subscription: a }: Agreement, { subscription: b }: Agreement): number {
  return byStart(a, b);
}

/** Of two that were started in one second the one that has ended is the older. */
function byStart(a: SubscriptionState, b: SubscriptionState): number {
  return (
    a.startedAt.getTime() - b.startedAt.getTime() ||
    (a.endedAt?.getTime() ?? Number.MAX_VALUE) - (b.endedAt?.getTime() ?? Number.MAX_VALUE) ||
    (a.id < b.id ? -1 : 1)
  );
}

/** A trial's allowance is given once per user and plan (stripe.md B2). */
function isTrialAgain(subscription: SubscriptionState, { subscriptions }: Facts): boolean {
  return (
    subscription.trialEnd !== null &&
    subscriptions.some(
      (other) =>
        other.id !== subscription.id &&
        byStart(other, subscription) < 0 &&
        other.trialEnd !== null &&
        other.plan === subscription.plan,
    )
  );
}
