/** What was agreed and paid, subscription by subscription. Pure. */
import type { PaidLine } from './paid-lines.ts';
import type { Catalogue } from './plans.ts';
import { paidUntil, type SubscriptionState } from './subscription.ts';
import { type Landing, landingsOf, paidTwice } from './windows.ts';

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
  const landings = landingsOf(catalogue, lines);
  const trials = isTrialAgain(subscription, facts) ? lines.filter(({ kind }) => kind === 'trial') : [];
  return {
    subscription,
    landings,
    keys: new Set(landings.map(({ key }) => key)),
    paidEnd: paidUntil(lines),
    trialsAgain: new Set(trials.map(({ lineId }) => lineId)),
    paidTwice: paidTwice(lines),
  };
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
