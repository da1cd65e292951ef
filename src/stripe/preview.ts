/**
 * What a change of plan would do, computed by the code that does it: the money by Stripe, asked with the parameters that
 * the change sends; the credits by applying the subscription and the invoice that there would be, at the time when they
 * would be, in a transaction that is rolled back. Nothing changes, in Stripe or here.
 */
import type Stripe from 'stripe';
import type { Context } from '../context.ts';
import type { Account } from '../domain/account.ts';
import { addMonths, nthPeriod, periodIndexAt } from '../domain/period.ts';
import { creditsOf, FREE_PLAN } from '../domain/plans.ts';
import { readUsage } from '../lib/users.ts';
import { nextFetchTicket } from '../store/subscriptions.ts';
import { type FetchedFacts, previewFacts } from './apply.ts';
import { type FetchedInvoice, invoiceLine } from './fetch.ts';
import { type LiveSubscription, liveSubscription, planItemOf } from './live-subscription.ts';
import {
  decideChange,
  type PlanChange,
  type PlanChangeInput,
  refuseUnsellable,
  updateParams,
} from './plan-change.ts';
import { parseLine, parseSubscription } from './shapes.ts';

export type PreviewInput = Omit<PlanChangeInput, 'plan'> & {
  /** The one or the other. */
  plan?: string | undefined;
  cancel?: true | undefined;
};

/** How many windows to come are named. */
const RESETS_SHOWN = 3;

/** What there would be in Stripe, and when. */
interface Hypothesis {
  at: Date;
  subscription: Stripe.Subscription;
  invoice: Stripe.Invoice | null;
}

/**
 * @returns `{plan, effectiveAt, keptUntil, money, credits, nextResets}`
 * @throws TollgateError as the change would
 */
export async function previewChange(
  context: Context,
  { cancel, plan = FREE_PLAN, ...input }: PreviewInput,
): Promise<Record<string, unknown>> {
  const wanted = { ...input, plan: cancel ? FREE_PLAN : plan };
  refuseUnsellable(context, wanted);
  const live = await liveSubscription(context, input.userId);
  const change = await decideChange(context, live, wanted);
  const hypothesis = await hypothesisOf(context, live, change);
  const before = await readUsage(context, input.userId);
  const { after } = await previewFacts(
    { ...context, clock: { now: () => hypothesis.at } },
    input.userId,
    await factsOf(context, hypothesis),
    lookAt,
  );
  const isLater = change.kind !== 'take_back' && change.effective === 'period_end';
  const { plan: planAfter, nextResets, grantedTokens, voidedTokens, expiredTokens, ...balance } = after;
  return {
    userId: input.userId,
    plan: planAfter,
    effectiveAt: hypothesis.at.toISOString(),
    // Plan and credits stay what they are until then.
    keptUntil: isLater ? hypothesis.at.toISOString() : null,
    money: moneyOf(live, hypothesis),
    credits: {
      before: {
        credits: before.credits,
        availableTokens: before.availableTokens,
        balances: before.balances.map(({ source, remainingTokens, expiresAt }) => ({
          source,
          remainingTokens,
          expiresAt,
        })),
      },
      after: balance,
      grantedTokens,
      voidedTokens,
      expiredTokens,
    },
    nextResets,
  };
}

async function hypothesisOf(
  context: Context,
  live: LiveSubscription,
  change: PlanChange,
): Promise<Hypothesis> {
  const { raw } = live;
  const now = context.clock.now();
  if (change.kind === 'take_back') {
    const subscription = { ...raw, cancel_at: null, cancel_at_period_end: false, canceled_at: null };
    return { at: now, subscription, invoice: null };
  }
  if (change.kind === 'cancel') return cancelled(context, live, change.effective, now);
  const { item, target, effective } = change;
  const at = effective === 'now' ? now : new Date(item.current_period_end * 1000);
  const invoice =
    // A trial is not invoiced before its end.
    effective === 'now' && live.status === 'trialing' ? null : await previewInvoice(context, live, change);
  const billed = invoice?.lines.data.findLast(
    (line) => priceIdOf(line) === target.price.id && line.amount > 0,
  );
  const data = raw.items.data.map((one) =>
    one.id === item.id
      ? {
          ...one,
          price: target.price,
          quantity: target.quantity,
          current_period_start: effective === 'now' ? one.current_period_start : item.current_period_end,
          current_period_end: billed?.period.end ?? one.current_period_end,
        }
      : one,
  );
  const status = effective === 'now' ? raw.status : 'active';
  return { at, subscription: { ...raw, status, items: { ...raw.items, data } }, invoice };
}

/** Nothing is paid back, so there is no invoice. */
function cancelled(
  context: Context,
  live: LiveSubscription,
  effective: 'now' | 'period_end',
  now: Date,
): Hypothesis {
  const end = live.cancel_at ?? planItemOf(context, live).current_period_end;
  const at = effective === 'now' ? now : new Date(end * 1000);
  const seconds = Math.floor(at.getTime() / 1000);
  const subscription: Stripe.Subscription = {
    ...live.raw,
    status: 'canceled',
    canceled_at: Math.floor(now.getTime() / 1000),
    ended_at: seconds,
    ...(effective === 'now' ? {} : { cancel_at: seconds }),
  };
  return { at, subscription, invoice: null };
}

/**
 * Of a change now, the invoice of the difference. Of a later one, the renewal at the new price; where the interval
 * changes, Stripe previews no such renewal, but a new period from now costs the same and is moved to its time.
 */
async function previewInvoice(
  { stripe }: Context,
  live: LiveSubscription,
  { effective, item, target }: PlanChange & { kind: 'change' },
): Promise<Stripe.Invoice> {
  const params = updateParams(item, target);
  if (effective === 'now') {
    return stripe.invoices.createPreview({ subscription: live.id, subscription_details: params });
  }
  const isSameInterval = item.price.recurring?.interval === target.interval;
  const invoice = await stripe.invoices.createPreview({
    subscription: live.id,
    subscription_details: {
      items: params.items,
      proration_behavior: 'none',
      ...(isSameInterval ? {} : { billing_cycle_anchor: { type: 'now' } }),
    },
  });
  if (isSameInterval) return invoice;
  const start = item.current_period_end;
  const end = addMonths(new Date(start * 1000), target.interval === 'year' ? 12 : 1).getTime() / 1000;
  const data = invoice.lines.data.map((line) =>
    priceIdOf(line) === target.price.id ? { ...line, period: { start, end } } : line,
  );
  return { ...invoice, lines: { ...invoice.lines, data } };
}

function priceIdOf({ pricing }: Stripe.InvoiceLineItem): string | undefined {
  const price = pricing?.price_details?.price;
  return typeof price === 'string' ? price : price?.id;
}

/** As they would be read from Stripe once the invoice is paid. */
async function factsOf(
  { stripe, pool }: Context,
  { at, subscription: changed, invoice }: Hypothesis,
): Promise<FetchedFacts> {
  const ticket = await nextFetchTicket(pool);
  const subscription = parseSubscription(changed);
  const facts: FetchedFacts = { ticket, subscription, invoices: [], session: null };
  if (!invoice) return facts;
  const lines = await Promise.all(invoice.lines.data.map((line) => invoiceLine(stripe, parseLine(line))));
  const paid: FetchedInvoice = {
    id: 'preview',
    customerId: subscription.customer,
    subscriptionId: subscription.id,
    // A preview of a renewal is called `upcoming`; the invoice will not be.
    billingReason: invoice.billing_reason === 'upcoming' ? 'subscription_cycle' : invoice.billing_reason,
    isRevision: false,
    isPaid: true,
    paidAt: at,
    money: { paidMinor: invoice.amount_due, refundedMinor: 0, disputedMinor: 0, creditedMinor: 0 },
    lines,
  };
  return { ...facts, invoices: [paid] };
}

function lookAt(account: Account) {
  const { user, entries } = account;
  const moved = (type: string): number =>
    Math.abs(entries.filter((entry) => entry.type === type).reduce((sum, { tokens }) => sum + tokens, 0));
  return {
    plan: user.subscriptionTier,
    credits: creditsOf(user.availableTokens),
    availableTokens: user.availableTokens,
    balances: account
      .openGrants()
      .filter(({ remainingTokens }) => remainingTokens > 0)
      .map(({ source, remainingTokens, expiresAt }) => ({
        source,
        remainingTokens,
        expiresAt: expiresAt?.toISOString() ?? null,
      })),
    grantedTokens: moved('granted'),
    voidedTokens: moved('voided'),
    expiredTokens: moved('expired'),
    nextResets: resetsFrom(user.periodEnd, user.periodAnchor),
  };
}

/** Months from the end of the running window, on the anchor's day where the window is on the anchor's clock. */
function resetsFrom(end: Date, anchor: Date): string[] {
  const index = periodIndexAt(anchor, end);
  const isOnAnchor = nthPeriod(anchor, index).start.getTime() === end.getTime();
  return Array.from({ length: RESETS_SHOWN }, (_, month) =>
    (isOnAnchor ? addMonths(anchor, index + month) : addMonths(end, month)).toISOString(),
  );
}

function moneyOf({ currency }: LiveSubscription, { at, invoice }: Hypothesis) {
  if (!invoice) return { amountDueMinor: 0, creditedMinor: 0, currency, dueAt: null, lines: [] };
  return {
    amountDueMinor: invoice.amount_due,
    /** What the change gives back: it becomes customer balance, which pays later invoices. */
    creditedMinor: Math.max(0, -invoice.total),
    currency: invoice.currency,
    dueAt: at.toISOString(),
    lines: invoice.lines.data.map(({ description, amount, quantity, period }) => ({
      description,
      amountMinor: amount,
      quantity,
      start: new Date(period.start * 1000).toISOString(),
      end: new Date(period.end * 1000).toISOString(),
    })),
  };
}
