/** Packs, and money that goes back or comes again. */
import type { Random } from './random.ts';
import { DAY, type StripeModel } from './stripe-model.ts';
import type { Money } from './stripe-objects.ts';

/** @returns false where it does not apply to the present state */
export type Act = (model: StripeModel, random: Random) => boolean;

function pickPayment(
  { payments }: StripeModel,
  random: Random,
  suits: (payment: Money) => boolean,
): Money | undefined {
  const found = payments.filter(suits);
  return found.length === 0 ? undefined : random.pick(found);
}

/** Two packs of one second burn in the order in which they became known: at most one a second. */
export const buyPack: Act = (model, random) => {
  if (model.world.events.some(({ at, type }) => at === model.now && type.startsWith('checkout')))
    return false;
  const isDelayed = random.chance(0.4);
  const settlesAt = isDelayed ? model.now + random.int(DAY / 1000, (7 * DAY) / 1000) * 1000 : null;
  model.buyPack(random.int(1, 3), settlesAt, random.chance(0.2));
  return true;
};

export const refund: Act = (model, random) => {
  const payment = pickPayment(model, random, ({ money }) => money.paidMinor > money.refundedMinor);
  if (!payment) return false;
  const left = payment.money.paidMinor - payment.money.refundedMinor;
  const amount = random.chance(0.4) ? left : random.int(1, left);
  payment.money.refundedMinor += amount;
  payment.money.returnedAt = new Date(model.now);
  payment.refunds.push(amount);
  model.publishMoney(payment, 'refund.created', 'charge.refunded');
  return true;
};

export const failRefund: Act = (model, random) => {
  const payment = pickPayment(model, random, ({ refunds }) => refunds.length > 0);
  if (!payment) return false;
  payment.money.refundedMinor -= payment.refunds.pop() ?? 0;
  model.publishMoney(payment, 'refund.failed');
  return true;
};

export const creditNote: Act = (model, random) => {
  const payment = pickPayment(model, random, ({ id, money }) => id.startsWith('in_') && money.paidMinor > 0);
  if (!payment) return false;
  payment.money.creditedMinor += random.int(1, payment.money.paidMinor);
  payment.money.returnedAt = new Date(model.now);
  model.publishMoney(payment, 'credit_note.created');
  return true;
};

export const dispute: Act = (model, random) => {
  const payment = pickPayment(model, random, ({ money, isDisputed }) => money.paidMinor > 0 && !isDisputed);
  if (!payment) return false;
  payment.isDisputed = true;
  payment.money.disputedMinor = payment.money.paidMinor;
  payment.money.returnedAt = new Date(model.now);
  model.publishMoney(payment, 'charge.dispute.created', 'charge.dispute.funds_withdrawn');
  return true;
};

/** Won, the money comes back; lost, it stays away. */
export const closeDispute: Act = (model, random) => {
  const payment = pickPayment(model, random, ({ money }) => money.disputedMinor > 0);
  if (!payment) return false;
  const isWon = random.chance(0.5);
  if (isWon) payment.money.disputedMinor = 0;
  model.publishMoney(payment, 'charge.dispute.closed', ...(isWon ? ['charge.dispute.funds_reinstated'] : []));
  return true;
};

export const giveBonus: Act = (model, random) => {
  const tokens = random.int(1, 20_000);
  model.world.ownSteps.push({ at: model.now, tokens, spentTokens: random.int(0, tokens) });
  return true;
};
