/**
 * Stripe as one customer meets it, in memory and by its documented rules (subscription lifecycle, invoices an hour
 * after the period rolls, dunning, prorations): what it did is in `world`. Times are ms, cut to the second as Stripe's.
 */
import type { LineKind, PaidLine } from '../src/domain/paid-lines.ts';
import { addMonths } from '../src/domain/period.ts';
import { priceMinor, type Terms } from './catalogue.ts';
import {
  type DunningEnd,
  type Invoice,
  type InvoiceLine,
  newState,
  type Subscription,
  totalOf,
} from './stripe-objects.ts';
import { type Due, StripeRecords } from './stripe-records.ts';
import { Timeline } from './world.ts';

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;
const RETRY_DAYS = [3, 5, 7];
const INCOMPLETE_LIVES = 23 * HOUR;

export class StripeModel extends StripeRecords {
  readonly subscriptions: Subscription[] = [];
  readonly invoices: Invoice[] = [];
  isCardGood = true;
  private creditMinor = 0;

  /** Runs everything due up to `at`, in the order of time. */
  advanceTo(at: number): void {
    for (let due = this.nextDue(); due && due.at <= at; due = this.nextDue()) {
      this.now = Math.max(this.now, due.at);
      due.run();
    }
    this.now = at;
    this.world.endsAt = at;
  }

  private nextDue(): Due | undefined {
    let first: Due | undefined;
    const offer = (at: number | null, run: () => void): void => {
      if (at !== null && (!first || at < first.at)) first = { at, run };
    };
    for (const one of this.later)
      offer(one.at, () => {
        this.later.splice(this.later.indexOf(one), 1);
        one.run();
      });
    for (const subscription of this.subscriptions) {
      const { status, cancelAt, currentPeriodEnd } = subscription.state;
      if (status === 'canceled' || status === 'incomplete_expired') continue;
      offer(subscription.expiresAt, () => this.expireIncomplete(subscription));
      offer(cancelAt?.getTime() ?? null, () => this.end(subscription));
      if (status !== 'paused' && status !== 'incomplete')
        offer(currentPeriodEnd.getTime(), () => this.renew(subscription));
    }
    for (const invoice of this.invoices) {
      if (invoice.status === 'draft' || invoice.status === 'open')
        offer(invoice.payAt, () => this.collect(invoice));
    }
    return first;
  }

  setPeriod(subscription: Subscription, start: Date, end: Date): void {
    subscription.state.currentPeriodStart = start;
    subscription.state.currentPeriodEnd = end;
  }

  /** A period of the agreed interval from `now` on, which becomes the anchor. */
  restart(subscription: Subscription): void {
    subscription.anchor = new Date(this.now);
    subscription.periods = 0;
    this.setPeriod(subscription, subscription.anchor, this.periodEnd(subscription, 1));
  }

  private periodEnd({ anchor, terms }: Subscription, periods: number): Date {
    return addMonths(anchor, periods * (terms.interval === 'year' ? 12 : 1));
  }

  agree(subscription: Subscription, terms: Terms): void {
    if (terms.interval !== subscription.terms.interval || terms.interval === 'year') {
      subscription.landsByClock = true;
      // A month or more without news: what lands meanwhile would depend on whether its end was heard of.
      if (subscription.dunningEnd !== 'past_due') subscription.dunningEnd = 'canceled';
    }
    subscription.terms = terms;
    const { state } = subscription;
    state.plan = terms.plan;
    state.interval = terms.interval;
    state.quantity = terms.quantity;
    state.lookupKey = `${terms.plan}_${terms.interval === 'year' ? 'annual' : 'monthly'}`;
    state.priceId = `price_${state.lookupKey}`;
  }

  private renew(subscription: Subscription): void {
    const { state, scheduled } = subscription;
    if (state.status === 'trialing') {
      state.status = 'active';
      subscription.anchor = state.currentPeriodEnd;
      subscription.periods = 0;
    } else subscription.periods += 1;
    if (scheduled) {
      if (scheduled.interval !== subscription.terms.interval) {
        subscription.anchor = state.currentPeriodEnd;
        subscription.periods = 0;
      }
      this.agree(subscription, scheduled);
      subscription.scheduled = null;
    }
    this.setPeriod(
      subscription,
      state.currentPeriodEnd,
      this.periodEnd(subscription, subscription.periods + 1),
    );
    const invoice = this.draft(subscription, [
      ...subscription.pendingLines.splice(0),
      this.fullLine(subscription),
    ]);
    if (subscription.isCollectionPaused) invoice.status = 'void';
    else invoice.payAt = state.status === 'unpaid' ? null : this.now + HOUR;
    this.publish(subscription);
  }

  fullLine({ state, terms, isFreeByCoupon }: Subscription): InvoiceLine {
    const amountMinor = isFreeByCoupon ? 0 : priceMinor(terms);
    return this.line('full', terms, amountMinor, state.currentPeriodStart, state.currentPeriodEnd);
  }

  line(kind: LineKind, terms: Terms, amountMinor: number, start: Date, end: Date): InvoiceLine {
    const { plan, interval, quantity } = terms;
    return { kind, offer: plan, interval, quantity, amountMinor, start, end };
  }

  draft(subscription: Subscription, lines: InvoiceLine[]): Invoice {
    const id = this.id('in');
    const invoice: Invoice = { id, subscription, lines, status: 'draft', payAt: null, attempts: 0 };
    this.invoices.push(invoice);
    subscription.state.latestInvoiceId = id;
    const payment = {
      id,
      subscriptionId: subscription.state.id,
      lines: new Timeline<readonly PaidLine[]>(),
    };
    this.world.payments.set(id, payment);
    const known = this.world.paymentsOf.get(subscription.state.id);
    if (known) known.push(payment);
    else this.world.paymentsOf.set(subscription.state.id, [payment]);
    return invoice;
  }

  /** @returns whether the money came */
  collect(invoice: Invoice, { isFinal = false } = {}): boolean {
    const { state, dunningEnd } = invoice.subscription;
    if (this.isCardGood || this.owed(invoice) <= 0) {
      this.pay(invoice);
      return true;
    }
    invoice.status = 'open';
    const retry = RETRY_DAYS[invoice.attempts++];
    invoice.payAt = isFinal || retry === undefined ? null : this.now + retry * DAY;
    this.emit('invoice.payment_failed', { kind: 'payment', id: invoice.id });
    if (isFinal || state.status === 'incomplete' || state.status === 'canceled') return false;
    if (invoice.payAt !== null) {
      if (state.status !== 'active') return false;
      state.status = 'past_due';
      this.publish(invoice.subscription);
    } else if (dunningEnd === 'canceled') this.end(invoice.subscription);
    else if (state.status !== dunningEnd) {
      state.status = dunningEnd;
      this.publish(invoice.subscription);
    }
    return false;
  }

  private owed({ lines }: Invoice): number {
    return totalOf({ lines }) - this.creditMinor;
  }

  pay(invoice: Invoice): void {
    const { subscription, id } = invoice;
    const total = totalOf(invoice);
    const paidMinor = Math.max(0, this.owed(invoice));
    this.creditMinor = Math.max(0, this.creditMinor - total);
    invoice.status = 'paid';
    invoice.payAt = null;
    const paidAt = new Date(this.now);
    this.record(
      id,
      { paidMinor, refundedMinor: 0, disputedMinor: 0, creditedMinor: 0 },
      invoice.lines.map((line, index) => ({
        key: `inv:${id}:il_${index}`,
        paymentId: id,
        lineId: `${id}_il_${index}`,
        subscriptionId: subscription.state.id,
        itemId: subscription.state.itemId,
        currency: 'usd',
        note: null,
        paidAt,
        ...line,
      })),
    );
    this.emit('invoice.paid', { kind: 'payment', id });
    const { state } = subscription;
    invoice.onPaid?.();
    const heals = ['incomplete', 'past_due', 'unpaid'].includes(state.status);
    const isDunned = state.status === 'paused' && invoice.attempts > 0;
    if (state.latestInvoiceId === id && (heals || isDunned)) {
      state.status = 'active';
      subscription.expiresAt = null;
      this.publish(subscription);
    }
  }

  end(subscription: Subscription): void {
    const { state } = subscription;
    state.status = 'canceled';
    state.canceledAt ??= new Date(this.now);
    state.endedAt = new Date(this.now);
    subscription.expiresAt = null;
    for (const invoice of this.invoices) if (invoice.subscription === subscription) invoice.payAt = null;
    this.publish(subscription, 'customer.subscription.deleted');
  }

  private expireIncomplete(subscription: Subscription): void {
    subscription.state.status = 'incomplete_expired';
    subscription.state.endedAt = new Date(this.now);
    subscription.expiresAt = null;
    for (const invoice of this.invoices) if (invoice.subscription === subscription) invoice.status = 'void';
    this.publish(subscription);
  }

  subscribe(terms: Terms, how: { trialDays: number; isFreeByCoupon: boolean; dunningEnd: DunningEnd }): void {
    const start = new Date(this.now);
    const subscription: Subscription = {
      state: newState(this.id('sub'), this.id('si'), start),
      terms,
      anchor: start,
      periods: 0,
      isFreeByCoupon: how.isFreeByCoupon,
      isCollectionPaused: false,
      dunningEnd: how.dunningEnd,
      landsByClock: false,
      scheduled: null,
      pendingLines: [],
      expiresAt: null,
    };
    this.subscriptions.push(subscription);
    const { state } = subscription;
    this.agree(subscription, terms);
    this.restart(subscription);
    if (how.trialDays > 0) {
      state.status = 'trialing';
      state.trialEnd = new Date(this.now + how.trialDays * DAY);
      this.setPeriod(subscription, start, state.trialEnd);
      const free = this.line('trial', terms, 0, start, state.trialEnd);
      const invoice = this.draft(subscription, [free]);
      this.publish(subscription, 'customer.subscription.created');
      this.pay(invoice);
      return;
    }
    const invoice = this.draft(subscription, [this.fullLine(subscription)]);
    invoice.status = 'open';
    subscription.expiresAt = this.now + INCOMPLETE_LIVES;
    this.publish(subscription, 'customer.subscription.created');
    this.collect(invoice, { isFinal: true });
  }
}
