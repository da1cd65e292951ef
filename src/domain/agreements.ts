/** What was agreed and paid, subscription by subscription. Pure. */
import type { Grant } from './model.ts';
import type { PaidLine } from './paid-lines.ts';
import type { Catalogue } from './plans.ts';
import { paidUntil, type SubscriptionState } from './subscription.ts';
import { type Bought, boughtWith, type Landing } from './windows.ts';

/** All that Stripe has told of one user. */
export interface Facts {
  readonly subscriptions: readonly SubscriptionState[];
  readonly lines: readonly PaidLine[];
}

/** A subscription with all that was paid for it. */
export interface Agreement {
  subscription: SubscriptionState;
  /** What its lines buy, by the start of the windows. */
  landings: readonly Landing[];
  keys: ReadonlySet<string>;
  paidEnd: Date | null;
  /** Ids of lines that give a trial to somebody who has had one of this plan. */
  trialsAgain: ReadonlySet<string>;
  /** Lines for a window that another line has paid for. */
  paidTwice: readonly PaidLine[];
}

/** A user is settled and rolled by the same facts several times in a row. */
const known = new WeakMap<Facts, { catalogue: Catalogue; agreements: readonly Agreement[] }>();
const knownLines = new WeakMap<Facts, ReadonlyMap<string, PaidLine>>();

/** The line that a grant was bought with. */
export function lineOf(facts: Facts, { key, invoiceLineId }: Grant): PaidLine | undefined {
  let lines = knownLines.get(facts);
  if (!lines) {
    lines = new Map(facts.lines.map((line) => [line.kind === 'pack' ? line.key : line.lineId, line]));
    knownLines.set(facts, lines);
  }
  return lines.get(invoiceLineId ?? key);
}

/** Oldest first: of two live subscriptions the older one counts. */
export function agreementsOf(catalogue: Catalogue, facts: Facts): readonly Agreement[] {
  const before = known.get(facts);
  if (before?.catalogue === catalogue) return before.agreements;
  const agreements = facts.subscriptions
    .map((subscription) => agreementOf(catalogue, subscription, facts))
    .sort(oldestFirst);
  known.set(facts, { catalogue, agreements });
  return agreements;
}

function agreementOf(catalogue: Catalogue, subscription: SubscriptionState, facts: Facts): Agreement {
  const lines = facts.lines.filter(({ subscriptionId }) => subscriptionId === subscription.id);
  const { landings, paidTwice, keys } = termsOf(catalogue, lines);
  const trials = isTrialAgain(subscription, facts) ? lines.filter(({ kind }) => kind === 'trial') : [];
  return {
    subscription,
    landings,
    keys,
    paidEnd: paidUntil(lines),
    trialsAgain: new Set(trials.map(({ lineId }) => lineId)),
    paidTwice,
  };
}

interface Terms extends Bought {
  keys: ReadonlySet<string>;
}

/** By the last of the lines that they are of. Most news is of a subscription and not of what was paid for it. */
const knownTerms = new WeakMap<
  PaidLine,
  { catalogue: Catalogue; lines: readonly PaidLine[]; terms: Terms }
>();

function termsOf(catalogue: Catalogue, lines: readonly PaidLine[]): Terms {
  const last = lines.at(-1);
  const before = last && knownTerms.get(last);
  const isSame =
    before?.catalogue === catalogue &&
    before.lines.length === lines.length &&
    before.lines.every((line, index) => line === lines[index]);
  if (isSame) return before.terms;
  const bought = boughtWith(catalogue, lines);
  const terms = { ...bought, keys: new Set(bought.landings.map(({ key }) => key)) };
  if (last) knownTerms.set(last, { catalogue, lines, terms });
  return terms;
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
