/** What a customer, an operator or a bank does to the simulated Stripe, one small function each. */
import { type Interval, type Plan, priceMinor, type Terms } from './catalogue.ts';
import {
  type Act,
  buyPack,
  closeDispute,
  creditNote,
  dispute,
  failRefund,
  giveBonus,
  refund,
} from './money-actions.ts';
import type { Random } from './random.ts';
import { HOUR, type StripeModel } from './stripe-model.ts';
import type { DunningEnd, Subscription } from './stripe-objects.ts';

const PLANS: Plan[] = ['pro', 'team'];
const ENDS: DunningEnd[] = ['canceled', 'unpaid', 'paused', 'past_due'];
const CHANGEABLE = ['active', 'past_due', 'trialing'];

const isLive = ({ state }: Subscription): boolean =>
  state.status !== 'canceled' && state.status !== 'incomplete_expired';

function pickSubscription(
  { subscriptions }: StripeModel,
  random: Random,
  suits: (subscription: Subscription) => boolean,
): Subscription | undefined {
  const found = subscriptions.filter(suits);
  return found.length === 0 ? undefined : random.pick(found);
}

function termsOf(random: Random): Terms {
  const interval: Interval = random.chance(0.25) ? 'year' : 'month';
  return { plan: random.pick(PLANS), interval, quantity: random.chance(0.2) ? random.int(2, 3) : 1 };
}

const subscribe: Act = (model, random) => {
  const live = model.subscriptions.filter(isLive).length;
  if (live > 1 || (live === 1 && !random.chance(0.15))) return false;
  const terms = termsOf(random);
  const dunningEnd = random.pick(ENDS);
  model.subscribe(terms, {
    trialDays: random.chance(0.2) ? random.int(3, 20) : 0,
    isFreeByCoupon: random.chance(0.1),
    dunningEnd,
  });
  return true;
};

/** Upgrade or downgrade, more or fewer seats, another interval: paid for at once, if the card is good. */
const changeNow: Act = (model, random) => {
  const subscription = pickSubscription(model, random, ({ state }) => CHANGEABLE.includes(state.status));
  if (!subscription || subscription.scheduled) return false;
  const terms = changed(subscription, random);
  if (terms.interval !== subscription.terms.interval && subscription.state.status === 'trialing')
    return false;
  const { state } = subscription;
  const isRestart = terms.interval !== subscription.terms.interval;
  const old = subscription.terms;
  const at = new Date(model.now);
  const span = state.currentPeriodEnd.getTime() - state.currentPeriodStart.getTime();
  const share = (state.currentPeriodEnd.getTime() - model.now) / span;
  const isFree = subscription.isFreeByCoupon || state.status === 'trialing';
  const credit = model.line(
    'credit',
    old,
    isFree ? 0 : -Math.round(priceMinor(old) * share),
    at,
    state.currentPeriodEnd,
  );
  const isPending = !model.isCardGood && random.chance(0.5);
  const apply = (): void => {
    model.agree(subscription, terms);
    if (isRestart) model.restart(subscription);
  };
  const lines = [credit];
  if (isPending && isRestart) return false;
  if (!isPending) apply();
  if (isRestart) lines.push(model.fullLine(subscription));
  else if (state.status === 'trialing')
    lines.splice(0, 1, model.line('trial', terms, 0, at, state.currentPeriodEnd));
  else {
    const cost = isFree ? 0 : Math.round(priceMinor(terms) * share);
    lines.push(model.line('delta', terms, cost, at, state.currentPeriodEnd));
  }
  if (random.chance(0.15) && !isRestart && !isPending && state.status === 'active') {
    subscription.pendingLines.push(...lines);
    model.publish(subscription);
    return true;
  }
  const latest = state.latestInvoiceId;
  const invoice = model.draft(subscription, lines);
  if (isPending) {
    state.latestInvoiceId = latest;
    invoice.onPaid = () => {
      if (!isLive(subscription)) return;
      apply();
      model.publish(subscription, 'customer.subscription.pending_update_applied');
    };
    const lapses = Math.min(model.now + 23 * HOUR, state.currentPeriodEnd.getTime() - 1000);
    model.schedule(lapses, () => {
      if (invoice.status !== 'paid') invoice.status = 'void';
    });
  }
  model.publish(subscription);
  invoice.status = 'open';
  model.collect(invoice, { isFinal: isPending });
  return true;
};

function changed({ terms }: Subscription, random: Random): Terms {
  const kind = random.int(0, 5);
  if (kind <= 1) return { ...terms, plan: terms.plan === 'pro' ? 'team' : 'pro' };
  if (kind <= 4) return { ...terms, quantity: (terms.quantity % 3) + random.int(1, 2) };
  return { ...terms, interval: terms.interval === 'year' ? 'month' : 'year' };
}

const changeAtPeriodEnd: Act = (model, random) => {
  const subscription = pickSubscription(model, random, ({ state }) => state.status === 'active');
  if (!subscription) return false;
  subscription.scheduled = changed(subscription, random);
  model.publish(subscription);
  return true;
};

const cancelNow: Act = (model, random) => {
  const subscription = pickSubscription(model, random, isLive);
  if (!subscription) return false;
  model.end(subscription);
  return true;
};

const cancelAtPeriodEnd: Act = (model, random) => {
  const subscription = pickSubscription(
    model,
    random,
    ({ state }) => CHANGEABLE.includes(state.status) && state.cancelAt === null,
  );
  if (!subscription) return false;
  subscription.state.cancelAt = subscription.state.currentPeriodEnd;
  subscription.state.canceledAt = new Date(model.now);
  model.publish(subscription);
  return true;
};

const undoCancel: Act = (model, random) => {
  const subscription = pickSubscription(model, random, (one) => isLive(one) && one.state.cancelAt !== null);
  if (!subscription) return false;
  subscription.state.cancelAt = null;
  subscription.state.canceledAt = null;
  model.publish(subscription);
  return true;
};

/** Not where windows land by the clock: see compare.ts. */
const pause: Act = (model, random) => {
  const subscription = pickSubscription(
    model,
    random,
    ({ state, landsByClock }) => state.status === 'active' && !landsByClock,
  );
  if (!subscription) return false;
  subscription.state.status = 'paused';
  model.publish(subscription, 'customer.subscription.paused');
  return true;
};

const resume: Act = (model, random) => {
  const subscription = pickSubscription(model, random, ({ state }) => state.status === 'paused');
  if (!subscription) return false;
  const { state } = subscription;
  const isRunning = state.currentPeriodEnd.getTime() > model.now;
  if (isRunning && random.chance(0.5)) {
    state.status = 'active';
    model.publish(subscription, 'customer.subscription.resumed');
    return true;
  }
  if (!model.isCardGood) return false;
  state.status = 'active';
  model.restart(subscription);
  const invoice = model.draft(subscription, [model.fullLine(subscription)]);
  model.publish(subscription, 'customer.subscription.resumed');
  model.collect(invoice);
  return true;
};

const pauseCollection: Act = (model, random) => {
  const subscription = pickSubscription(model, random, ({ state }) => state.status === 'active');
  if (!subscription) return false;
  subscription.isCollectionPaused = !subscription.isCollectionPaused;
  model.publish(subscription);
  return true;
};

const endTrial: Act = (model, random) => {
  const subscription = pickSubscription(model, random, ({ state }) => state.status === 'trialing');
  if (!subscription) return false;
  subscription.state.trialEnd = new Date(model.now);
  subscription.state.status = 'active';
  model.restart(subscription);
  const invoice = model.draft(subscription, [model.fullLine(subscription)]);
  model.publish(subscription);
  model.collect(invoice);
  return true;
};

const changeCard: Act = (model) => {
  model.isCardGood = !model.isCardGood;
  return true;
};

/** Somebody pays an invoice by hand, perhaps months late. */
const payOpenInvoice: Act = (model, random) => {
  const open = model.invoices.filter(({ status }) => status === 'open' || status === 'uncollectible');
  if (open.length === 0) return false;
  model.pay(random.pick(open));
  return true;
};

const giveUpInvoice: Act = (model, random) => {
  const open = model.invoices.filter(({ status }) => status === 'open');
  if (open.length === 0) return false;
  const invoice = random.pick(open);
  invoice.status = random.chance(0.5) ? 'void' : 'uncollectible';
  invoice.payAt = null;
  model.emit(invoice.status === 'void' ? 'invoice.voided' : 'invoice.marked_uncollectible', {
    kind: 'payment',
    id: invoice.id,
  });
  return true;
};

/** What may happen, and how often it is tried. */
const ACTIONS = {
  subscribe: [subscribe, 10],
  changeNow: [changeNow, 10],
  changeAtPeriodEnd: [changeAtPeriodEnd, 2],
  cancelNow: [cancelNow, 2],
  cancelAtPeriodEnd: [cancelAtPeriodEnd, 3],
  undoCancel: [undoCancel, 3],
  pause: [pause, 3],
  resume: [resume, 5],
  pauseCollection: [pauseCollection, 2],
  endTrial: [endTrial, 2],
  changeCard: [changeCard, 4],
  payOpenInvoice: [payOpenInvoice, 4],
  giveUpInvoice: [giveUpInvoice, 1],
  buyPack: [buyPack, 4],
  refund: [refund, 3],
  failRefund: [failRefund, 2],
  creditNote: [creditNote, 1],
  dispute: [dispute, 2],
  closeDispute: [closeDispute, 2],
  giveBonus: [giveBonus, 2],
} satisfies Record<string, [Act, number]>;

export type ActionName = keyof typeof ACTIONS;

const NAMES = Object.keys(ACTIONS) as ActionName[];
const WEIGHTED = NAMES.flatMap((name) => Array.from({ length: ACTIONS[name][1] }, () => name));
/** What moves money only: nothing lands of it. */
export const MONEY_ACTIONS = ['refund', 'failRefund', 'dispute', 'closeDispute', 'creditNote'] as const;

/** What brings money back. */
export const RESTITUTIONS = ['failRefund', 'closeDispute'] as const;

export const anyAction = (random: Random): ActionName => random.pick(WEIGHTED);

export function act(name: ActionName, model: StripeModel, random: Random): boolean {
  return ACTIONS[name][0](model, random);
}
