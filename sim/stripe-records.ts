/** What the simulated Stripe has on record: versions, events, payments and what became of their money. */
import type { PaidLine, PaymentMoney } from '../src/domain/paid-lines.ts';
import type { SubscriptionState } from '../src/domain/subscription.ts';
import { PACK } from './catalogue.ts';
import { type Money, packLine, type Subscription } from './stripe-objects.ts';
import { newWorld, type Pointer, Timeline, type World } from './world.ts';

export interface Due {
  at: number;
  run(): void;
}

export class StripeRecords {
  readonly world: World;
  readonly payments: Money[] = [];
  protected readonly later: Due[] = [];
  private ids = 0;

  constructor(
    bornAt: number,
    public now = Math.ceil(bornAt / 1000) * 1000,
  ) {
    this.world = newWorld(bornAt);
  }

  id(prefix: string): string {
    return `${prefix}_${String(++this.ids).padStart(4, '0')}`;
  }

  emit(type: string, pointer: Pointer): void {
    this.world.events.push({ at: this.now, type, ...pointer });
  }

  schedule(at: number, run: () => void): void {
    this.later.push({ at, run });
  }

  publish({ state }: Subscription, type = 'customer.subscription.updated'): void {
    const versions = this.world.subscriptions.get(state.id) ?? new Timeline<SubscriptionState>();
    this.world.subscriptions.set(state.id, versions);
    versions.set(this.now, { ...state });
    this.emit(type, { kind: 'subscription', id: state.id });
  }

  protected record(id: string, money: PaymentMoney, paid: Omit<PaidLine, 'money'>[]): void {
    this.world.payments.get(id)?.lines.set(
      this.now,
      paid.map((line) => ({ ...line, money: { ...money } })),
    );
    this.payments.push({ id, money, refunds: [], isDisputed: false });
  }

  /** What became of a payment's money, after `payment.money` has been changed. */
  publishMoney({ id, money }: Money, ...types: string[]): void {
    const versions = this.world.payments.get(id)?.lines;
    const before = versions?.at(this.now) ?? [];
    versions?.set(
      this.now,
      before.map((line) => ({ ...line, money: { ...money } })),
    );
    for (const type of types) this.emit(type, { kind: 'payment', id });
  }

  buyPack(quantity: number, settlesAt: number | null, fails: boolean): void {
    const id = this.id('cs');
    this.world.payments.set(id, { id, subscriptionId: null, lines: new Timeline() });
    const settle = (type: string) => (): void => {
      const amountMinor = PACK.priceMinor * quantity;
      const paidAt = new Date(this.now);
      this.record(id, { paidMinor: amountMinor, refundedMinor: 0, disputedMinor: 0, creditedMinor: 0 }, [
        packLine(id, quantity, amountMinor, paidAt),
      ]);
      this.emit(type, { kind: 'payment', id });
    };
    if (settlesAt === null) {
      settle('checkout.session.completed')();
      return;
    }
    this.emit('checkout.session.completed', { kind: 'payment', id });
    if (fails)
      this.schedule(settlesAt, () =>
        this.emit('checkout.session.async_payment_failed', { kind: 'payment', id }),
      );
    else this.schedule(settlesAt, settle('checkout.session.async_payment_succeeded'));
  }
}
