/** What one customer, their bank and an operator do to the sandbox over its API; what Stripe refuses has not happened. */
import Stripe from 'stripe';
import { PACK, type Plan } from '../catalogue.ts';
import type { Random } from '../random.ts';

/** What the sandbox's control routes have refused. */
export class Refused extends Error {}

export type Control = (path: string, body?: unknown) => Promise<Record<string, unknown>>;

interface Act {
  weight: number;
  run(customer: Customer, random: Random): Promise<boolean>;
}

const LIVE = new Set(['trialing', 'active', 'past_due', 'unpaid', 'paused', 'incomplete']);

export class Customer {
  private readonly acts: Act[];
  /** Subscriptions with windows that land by the clock: they are not paused (sim/compare.ts). */
  private readonly byClock = new Set<string>();
  private isCardGood = true;
  done = 0;

  constructor(
    readonly userId: string,
    readonly id: string,
    /** Its own dice, so that the others have no say in what it does. */
    readonly random: Random,
    private readonly stripe: Stripe,
    private readonly control: Control,
    private readonly prices: ReadonlyMap<string, string>,
    /** Whether a year may be bought: not where dunning ends in a pause (sim/compare.ts). */
    private readonly mayBuyYears: boolean,
  ) {
    this.acts = ACTS;
  }

  /** Does one thing that applies; tries a few. */
  async act(): Promise<void> {
    const { random } = this;
    const weighted = this.acts.flatMap((act) => Array.from({ length: act.weight }, () => act));
    for (let attempt = 0; attempt < 4; attempt++) {
      try {
        if (await random.pick(weighted).run(this, random)) {
          this.done += 1;
          return;
        }
      } catch (error) {
        const isRefused =
          error instanceof Refused ||
          error instanceof Stripe.errors.StripeInvalidRequestError ||
          error instanceof Stripe.errors.StripeCardError;
        if (!isRefused) throw error;
      }
    }
  }

  private price(plan: Plan, interval: 'month' | 'year'): string {
    const key = `${plan}_${interval === 'year' ? 'annual' : 'monthly'}`;
    return this.prices.get(key) ?? '';
  }

  private async subscriptions(statuses: ReadonlySet<string>): Promise<Stripe.Subscription[]> {
    const { data } = await this.stripe.subscriptions.list({ customer: this.id, status: 'all' });
    return data.filter(({ status }) => statuses.has(status));
  }

  private interval(random: Random): 'month' | 'year' {
    return this.mayBuyYears && random.chance(0.25) ? 'year' : 'month';
  }

  async subscribe(random: Random): Promise<boolean> {
    const live = await this.subscriptions(LIVE);
    if (live.length > 1 || (live.length === 1 && !random.chance(0.15))) return false;
    const interval = this.interval(random);
    const price = this.price(random.pick(['pro', 'team'] as const), interval);
    const made = await this.stripe.subscriptions.create({
      customer: this.id,
      items: [{ price, quantity: random.chance(0.2) ? 2 : 1 }],
      ...(random.chance(0.2) ? { trial_period_days: random.int(3, 20) } : {}),
    });
    if (interval === 'year') this.byClock.add(made.id);
    return true;
  }

  async change(random: Random): Promise<boolean> {
    const [one] = await this.subscriptions(new Set(['active', 'past_due', 'trialing']));
    const item = one?.items.data[0];
    if (!one || !item) return false;
    const was = item.price.recurring?.interval === 'year' ? 'year' : 'month';
    const interval = random.chance(0.2) ? this.interval(random) : was;
    if (interval !== was && one.status === 'trialing') return false;
    if (interval !== was) this.byClock.add(one.id);
    await this.stripe.subscriptions.update(one.id, {
      items: [
        {
          id: item.id,
          price: this.price(random.pick(['pro', 'team'] as const), interval),
          quantity: random.int(1, 3),
        },
      ],
      proration_behavior: random.chance(0.15) ? 'create_prorations' : 'always_invoice',
      payment_behavior: random.chance(0.5) ? 'pending_if_incomplete' : 'allow_incomplete',
    });
    return true;
  }

  async cancel(random: Random): Promise<boolean> {
    const [one] = await this.subscriptions(LIVE);
    if (!one) return false;
    if (random.chance(0.4)) await this.stripe.subscriptions.cancel(one.id);
    else await this.stripe.subscriptions.update(one.id, { cancel_at_period_end: one.cancel_at === null });
    return true;
  }

  async pause(): Promise<boolean> {
    const [one] = await this.subscriptions(new Set(['active', 'paused']));
    if (!one) return false;
    if (one.status === 'paused') await this.stripe.subscriptions.resume(one.id);
    else if (this.byClock.has(one.id)) return false;
    else await this.stripe.subscriptions.pause(one.id, { type: 'subscription' });
    return true;
  }

  async pauseCollection(): Promise<boolean> {
    const [one] = await this.subscriptions(new Set(['active']));
    if (!one) return false;
    await this.stripe.subscriptions.update(one.id, {
      pause_collection: one.pause_collection === null ? { behavior: 'void' } : '',
    });
    return true;
  }

  async changeCard(): Promise<boolean> {
    this.isCardGood = !this.isCardGood;
    const outcome = this.isCardGood ? 'succeeds' : 'card_declined';
    await this.control(`/customers/${this.id}/payment`, { outcome });
    return true;
  }

  async payInvoice(random: Random): Promise<boolean> {
    const { data } = await this.stripe.invoices.list({ customer: this.id, status: 'open' });
    if (data.length === 0) return false;
    await this.stripe.invoices.pay(random.pick(data).id ?? '');
    return true;
  }

  async buyPack(random: Random): Promise<boolean> {
    const price = this.prices.get(PACK.offer) ?? '';
    const session = await this.stripe.checkout.sessions.create({
      mode: 'payment',
      customer: this.id,
      line_items: [{ price, quantity: random.int(1, 3) }],
      success_url: 'https://app.test/done',
    });
    const outcome = this.isCardGood
      ? random.pick(['succeeds', 'async_succeeds', 'async_fails'])
      : 'async_fails';
    await this.control(`/checkout/${session.id}/complete`, { outcome });
    return true;
  }

  async refund(random: Random): Promise<boolean> {
    const charge = await this.charge(random);
    if (!charge || charge.amount_refunded >= charge.amount) return false;
    const left = charge.amount - charge.amount_refunded;
    const amount = random.chance(0.4) ? left : random.int(1, left);
    await this.stripe.refunds.create({ charge: charge.id, amount });
    return true;
  }

  async dispute(random: Random): Promise<boolean> {
    const { data } = await this.stripe.disputes.list({ limit: 100 });
    const mine = new Set((await this.charges()).map(({ id }) => id));
    const open = data.filter(
      ({ charge, status }) => mine.has(String(charge)) && status !== 'won' && status !== 'lost',
    );
    const [first] = open;
    if (first) {
      await this.control(`/disputes/${first.id}/close`, { status: random.pick(['won', 'lost']) });
      return true;
    }
    const charge = await this.charge(random);
    if (!charge || charge.disputed || charge.amount_refunded > 0) return false;
    await this.control(`/charges/${charge.id}/dispute`, { reason: 'fraudulent' });
    return true;
  }

  async creditNote(random: Random): Promise<boolean> {
    const { data } = await this.stripe.invoices.list({ customer: this.id, status: 'paid' });
    const paid = data.filter(({ amount_paid }) => amount_paid > 0);
    if (paid.length === 0) return false;
    const { id = '', amount_paid: paidMinor } = random.pick(paid);
    const amount = random.int(1, paidMinor);
    await this.stripe.creditNotes.create({ invoice: id, amount, credit_amount: amount });
    return true;
  }

  private async charges(): Promise<Stripe.Charge[]> {
    return (await this.stripe.charges.list({ customer: this.id, limit: 100 })).data;
  }

  private async charge(random: Random): Promise<Stripe.Charge | undefined> {
    const paid = (await this.charges()).filter(({ status }) => status === 'succeeded');
    return paid.length === 0 ? undefined : random.pick(paid);
  }
}

const ACTS: Act[] = [
  { weight: 8, run: (customer, random) => customer.subscribe(random) },
  { weight: 8, run: (customer, random) => customer.change(random) },
  { weight: 4, run: (customer, random) => customer.cancel(random) },
  { weight: 3, run: (customer) => customer.pause() },
  { weight: 1, run: (customer) => customer.pauseCollection() },
  { weight: 3, run: (customer) => customer.changeCard() },
  { weight: 3, run: (customer, random) => customer.payInvoice(random) },
  { weight: 4, run: (customer, random) => customer.buyPack(random) },
  { weight: 3, run: (customer, random) => customer.refund(random) },
  { weight: 2, run: (customer, random) => customer.dispute(random) },
  { weight: 1, run: (customer, random) => customer.creditNote(random) },
];
