/**
 * One user's side of the story without a database: what src/stripe/apply.ts and src/store do in a transaction (guards by
 * ticket included), on the same pure rules.
 */
import { Account } from '../src/domain/account.ts';
import type { Facts } from '../src/domain/agreements.ts';
import { enterFreePlan } from '../src/domain/allowance.ts';
import type { UserState } from '../src/domain/model.ts';
import type { PaidLine } from '../src/domain/paid-lines.ts';
import { rollWith, type Settled, settle } from '../src/domain/settle.ts';
import type { SubscriptionState } from '../src/domain/subscription.ts';
import { CATALOGUE } from './catalogue.ts';
import type { Pointer, World } from './world.ts';

/** What a sync has read of Stripe. */
export interface Read {
  ticket: number;
  subscription: SubscriptionState | null;
  lines: readonly PaidLine[];
}

export class Ledger {
  readonly account: Account;
  /** Of the last sync. */
  settled: Settled = { done: [], duplicates: [], paidTwice: [] };
  private readonly subscriptions = new Map<string, { state: SubscriptionState; ticket: number }>();
  private readonly lines = new Map<string, { line: PaidLine; ticket: number }>();
  private readonly knownPayments = new Set<string>();
  private known: Facts | undefined;
  private tickets = 0;
  private grantIds = 0;

  constructor(
    private readonly world: World,
    bornAt: number,
  ) {
    const now = new Date(bornAt);
    const newGrantId = (): string => `gr_${String(++this.grantIds).padStart(4, '0')}`;
    this.account = new Account(newUser(now), [], [], CATALOGUE, now, newGrantId);
    enterFreePlan(this.account);
    rollWith(this.account, this.facts);
  }

  /** One object until something new is known. */
  get facts(): Facts {
    this.known ??= {
      subscriptions: [...this.subscriptions.values()].map(({ state }) => state).sort(oldestFirst),
      lines: [...this.lines.values()].map(({ line }) => line),
    };
    return this.known;
  }

  /** As src/stripe/sync.ts: the ticket first, then the object, then every paid invoice that is not known. */
  read({ kind, id }: Pointer, at: number): Read {
    const ticket = ++this.tickets;
    const { world } = this;
    const payment = kind === 'payment' ? world.payments.get(id) : undefined;
    const own = payment?.lines.at(at) ?? [];
    const subscriptionId = kind === 'subscription' ? id : (payment?.subscriptionId ?? null);
    if (subscriptionId === null) return { ticket, subscription: null, lines: own };
    const others = (world.paymentsOf.get(subscriptionId) ?? [])
      .filter((one) => one !== payment && !this.knownPayments.has(one.id))
      .flatMap((one) => one.lines.at(at) ?? []);
    const subscription = world.subscriptions.get(subscriptionId)?.at(at) ?? null;
    return { ticket, subscription, lines: [...own, ...others] };
  }

  apply({ ticket, subscription, lines }: Read, at: number): void {
    // What was due until now was decided by what was known until now.
    this.visit(at);
    if (subscription && (this.subscriptions.get(subscription.id)?.ticket ?? 0) < ticket) {
      if (this.subscriptions.get(subscription.id)?.state !== subscription) this.known = undefined;
      this.subscriptions.set(subscription.id, { state: subscription, ticket });
    }
    for (const line of lines) this.store(line, ticket);
    this.settleAgain(at);
  }

  private store(line: PaidLine, ticket: number): void {
    const before = this.lines.get(line.key);
    this.knownPayments.add(line.paymentId);
    if (before && before.ticket >= ticket) return;
    if (before?.line !== line) this.known = undefined;
    this.lines.set(line.key, { line, ticket });
  }

  /** By what is known, as any sync would; nothing new is read. */
  settleAgain(at: number): void {
    this.visit(at);
    const { account } = this;
    const { nextDueAt } = account.user;
    this.settled = settle(account, this.facts);
    // As store/account.ts.
    if (account.user.nextDueAt.getTime() !== nextDueAt.getTime()) rollWith(account, this.facts);
  }

  /** Whoever touches a user applies what is due first. */
  visit(at: number): void {
    this.account.now = new Date(at);
    if (this.account.user.nextDueAt <= this.account.now) rollWith(this.account, this.facts);
  }

  giveBonus(at: number, tokens: number, spentTokens: number): void {
    this.visit(at);
    const { account } = this;
    // Ends before anything else, so that what is spent of it at once is spent of nothing else.
    const expiresAt = new Date(at + 1);
    const key = `bonus:${account.user.lastSeq}`;
    account.grant({ key, source: 'bonus', tokens, expiresAt, details: { reason: 'Simulated' } });
    rollWith(this.account, this.facts);
    if (account.user.availableTokens >= spentTokens && spentTokens > 0) this.spend(spentTokens);
  }

  spend(tokens: number): void {
    const outcome = this.account.consume(tokens, { key: `consume:${this.account.user.lastSeq}` });
    if (!outcome.ok) throw new Error(`${tokens} tokens were refused.`);
  }
}

function oldestFirst(a: SubscriptionState, b: SubscriptionState): number {
  return a.startedAt.getTime() - b.startedAt.getTime() || (a.id < b.id ? -1 : 1);
}

function newUser(now: Date): UserState {
  return {
    id: 'user_1',
    availableTokens: 0,
    heldTokens: 0,
    debtTokens: 0,
    totalTokensUsed: 0,
    monthlyTokensUsed: 0,
    monthlyResetDate: now,
    periodEnd: now,
    periodAnchor: now,
    freeAllowanceStart: null,
    isSubscribed: false,
    subscriptionTier: 'free',
    subscriptionEndsAt: null,
    accessEndsAt: null,
    currentSubscriptionId: null,
    stripeCustomerId: 'cus_0001',
    isMetered: false,
    lastSeq: 0,
    nextDueAt: now,
    createdAt: now,
  };
}
