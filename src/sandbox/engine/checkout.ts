import { DAY } from '../calendar.ts';
import { invalid } from '../errors.ts';
import { createCustomer } from '../resources/customer-object.ts';
import { attachPaymentMethod, cardByName, createPaymentMethod } from '../resources/payment-methods.ts';
import type { SessionOrder } from '../state.ts';
import type { CheckoutSession, Customer, PaymentIntent, PaymentMethod } from '../wire.ts';
import type { World } from '../world.ts';
import { settleCharge } from './charges.ts';
import { cancelIntent, createIntent } from './intents.ts';
import { confirmIntent } from './payments.ts';
import { confirmSetup } from './setup.ts';
import { createSubscription } from './subscription-create.ts';
import type { NewItem } from './subscription-object.ts';

const DELAYED_DAYS = 3;

/** What the person at the page gave. */
export interface Payer {
  /** Without one it is the card that always works; null = none was asked for (payment_method_collection). */
  method?: PaymentMethod | null;
  email?: string;
  name?: string;
  /** Seconds until a delayed method's money comes or does not. */
  settlesAfter?: number;
}

export const CHECKOUT_OUTCOMES = [
  'succeeds',
  'card_declined',
  'insufficient_funds',
  'requires_action',
  'abandon',
  'async_succeeds',
  'async_fails',
] as const;
export type CheckoutOutcome = (typeof CHECKOUT_OUTCOMES)[number];

function orderOf(world: World, session: CheckoutSession): SessionOrder {
  const order = world.state.sessionOrders.get(session.id);
  if (order === undefined) throw invalid(`Session ${session.id} has no order.`);
  return order;
}

function itemsOf(world: World, order: SessionOrder): NewItem[] {
  return order.lines.flatMap(({ price: id, quantity }) => {
    const price = world.state.prices.get(id);
    return price === undefined ? [] : [{ price, quantity }];
  });
}

/** What a person did on the hosted page. A refused card leaves the session open for another try. */
export function completeSession(
  world: World,
  session: CheckoutSession,
  outcome: CheckoutOutcome,
  payer: Payer = {},
): CheckoutSession {
  if (session.status !== 'open')
    throw invalid(`This Checkout Session is ${session.status}.`, { code: 'resource_already_exists' });
  if (outcome === 'abandon') return session;
  const order = orderOf(world, session);
  const customer = customerOf(world, session, order, payer);
  const { email, name } = contactOf(session, customer, payer);
  const method = payer.method ?? createPaymentMethod(world, cardByName('visa'), { email, name });
  session.customer_details = detailsOf(email, name);
  if (outcome === 'card_declined' || outcome === 'insufficient_funds' || outcome === 'requires_action') {
    refuseCard(world, session, order, customer, method, outcome);
    return session;
  }
  if (session.mode === 'setup') keepCard(world, session, customer, method);
  else if (session.mode === 'subscription' && customer !== null)
    subscribe(world, session, order, customer, payer.method === null ? null : method);
  else {
    const settlesAfter = payer.settlesAfter ?? DELAYED_DAYS * DAY;
    payOnce(world, session, order, { customer, method, outcome, settlesAfter });
  }
  return session;
}

function contactOf(
  session: CheckoutSession,
  customer: Customer | null,
  payer: Payer,
): { email: string; name: string } {
  const known = customer?.email ?? session.customer_details?.email ?? session.customer_email;
  return {
    email: known ?? payer.email ?? 'customer@example.com',
    name: customer?.name ?? payer.name ?? 'Sandbox Customer',
  };
}

function customerOf(
  world: World,
  session: CheckoutSession,
  order: SessionOrder,
  payer: Payer,
): Customer | null {
  const known = world.state.customers.get(session.customer ?? '');
  if (known !== undefined) return known;
  const wanted =
    session.mode === 'subscription' || session.customer_creation === 'always' || order.payment.saveCard;
  if (!wanted) return null;
  const customer = createCustomer(world, contactOf(session, null, payer));
  world.emit('customer.created', customer);
  session.customer = customer.id;
  return customer;
}

function pageIntent(
  world: World,
  session: CheckoutSession,
  order: SessionOrder,
  customer: Customer | null,
  method: PaymentMethod,
): PaymentIntent {
  const existing = world.state.paymentIntents.get(session.payment_intent ?? '');
  if (existing !== undefined) return existing;
  const intent = createIntent(world, {
    amount: session.amount_total ?? 0,
    currency: session.currency ?? 'usd',
    customer: customer?.id ?? null,
    description: order.payment.description,
    metadata: order.payment.metadata,
    setupFutureUsage: order.payment.saveCard ? 'off_session' : null,
    invoice: null,
    methodTypes: [method.type],
  });
  // Only a one-time payment's intent shows in the session (stripe.md A3).
  if (session.mode === 'payment') session.payment_intent = intent.id;
  return intent;
}

/** mode=setup: nothing is paid; the card is there for later. */
function keepCard(
  world: World,
  session: CheckoutSession,
  customer: Customer | null,
  method: PaymentMethod,
): void {
  const intent = world.state.setupIntents.get(session.setup_intent ?? '');
  if (intent === undefined) return;
  intent.customer = customer?.id ?? null;
  confirmSetup(world, intent, { method: method.id, authenticated: true });
  Object.assign(session, { status: 'complete', url: null } satisfies Partial<CheckoutSession>);
  world.emit('checkout.session.completed', session);
}

function refuseCard(
  world: World,
  session: CheckoutSession,
  order: SessionOrder,
  customer: Customer | null,
  method: PaymentMethod,
  outcome: 'card_declined' | 'insufficient_funds' | 'requires_action',
): void {
  if (session.mode === 'setup') return;
  const intent = pageIntent(world, session, order, customer, method);
  confirmIntent(world, intent, {
    method: method.id,
    onSession: true,
    outcome,
    returnUrl: session.success_url,
  });
  // The first invoice brings an intent of its own, made when the card is accepted.
  if (session.mode === 'subscription') cancelIntent(world, intent, 'abandoned');
}

function subscribe(
  world: World,
  session: CheckoutSession,
  order: SessionOrder,
  customer: Customer,
  method: PaymentMethod | null,
): void {
  if (method !== null) attachPaymentMethod(world, method.id, customer.id);
  const items = itemsOf(world, order);
  const coupon = world.state.coupons.get(order.coupon ?? '');
  const promotionCode = session.discounts?.[0]?.promotion_code ?? null;
  const { subscription, invoice } = createSubscription(world, {
    customer,
    items: items.filter((item) => item.price.recurring !== null),
    extras: items.filter((item) => item.price.recurring === null),
    metadata: order.subscription.metadata,
    description: order.subscription.description,
    defaultPaymentMethod: method?.id ?? null,
    trialEnd: order.subscription.trialDays === null ? null : world.now() + order.subscription.trialDays * DAY,
    trialSettings: {
      end_behavior: {
        billing_cycle_anchor: null,
        missing_payment_method: order.subscription.missingPaymentMethod,
      },
    },
    cancelAt: null,
    redemptions: coupon === undefined ? [] : [{ coupon, promotionCode, discount: null }],
    checkoutSession: session.id,
    paymentBehavior: 'allow_incomplete',
    onSession: true,
    // The person has just typed a good card; a customer set to fail fails from the next attempt on.
    outcome: 'succeeds',
  });
  Object.assign(session, {
    customer: customer.id,
    subscription: subscription.id,
    invoice: invoice.id,
    ...finished(invoice.amount_due === 0 ? 'no_payment_required' : 'paid'),
  } satisfies Partial<CheckoutSession>);
  world.emit('checkout.session.completed', session);
}

function detailsOf(email: string, name: string): NonNullable<CheckoutSession['customer_details']> {
  return {
    address: { city: null, country: 'US', line1: null, line2: null, postal_code: '94107', state: null },
    business_name: null,
    email,
    individual_name: null,
    name,
    phone: null,
    tax_exempt: 'none',
    tax_ids: [],
  };
}

function finished(
  paymentStatus: 'paid' | 'unpaid' | 'no_payment_required',
): Pick<CheckoutSession, 'status' | 'payment_status' | 'url'> {
  return { status: 'complete', payment_status: paymentStatus, url: null };
}

function payOnce(
  world: World,
  session: CheckoutSession,
  order: SessionOrder,
  payment: {
    customer: Customer | null;
    method: PaymentMethod;
    outcome: 'succeeds' | 'async_succeeds' | 'async_fails';
    settlesAfter: number;
  },
): void {
  const { customer, method, outcome } = payment;
  if (session.amount_total === 0) {
    Object.assign(session, finished('no_payment_required'));
    world.emit('checkout.session.completed', session);
    return;
  }
  const intent = pageIntent(world, session, order, customer, method);
  if (customer !== null && order.payment.saveCard) attachPaymentMethod(world, method.id, customer.id);
  if (outcome === 'succeeds') confirmIntent(world, intent, { method: method.id, onSession: true, outcome });
  else {
    // A delayed method: the session is complete, the money comes days later or never.
    Object.assign(intent, { status: 'processing', payment_method: method.id });
    world.emit('payment_intent.processing', intent);
    world.state.delayedPayments.set(session.id, outcome === 'async_succeeds');
    world.scheduler.plan('payment_settles', world.now() + payment.settlesAfter, session.id);
  }
  const charge = world.state.charges.get(intent.latest_charge ?? '');
  if (charge !== undefined) settleCharge(world, charge, false);
  Object.assign(session, finished(outcome === 'succeeds' ? 'paid' : 'unpaid'));
  world.emit('checkout.session.completed', session);
}

export function settleDelayedPayment(world: World, sessionId: string): void {
  const session = world.state.sessions.get(sessionId);
  const intent = world.state.paymentIntents.get(session?.payment_intent ?? '');
  const succeeds = world.state.delayedPayments.get(sessionId);
  if (session === undefined || intent === undefined || succeeds === undefined) return;
  world.state.delayedPayments.delete(sessionId);
  const outcome = succeeds ? 'succeeds' : 'card_declined';
  confirmIntent(world, intent, { method: intent.payment_method, onSession: false, outcome });
  if (succeeds) session.payment_status = 'paid';
  world.emit(`checkout.session.async_payment_${succeeds ? 'succeeded' : 'failed'}`, session);
}
