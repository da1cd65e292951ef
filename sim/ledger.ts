/**
 * One user's side of the story without a database: what src/stripe/apply.ts and src/store do in a transaction (guards by
 * ticket included), on the same pure rules.
 */
import { Account } from '../src/domain/account.ts';
import type { Facts } from '../src/domain/agreements.ts';
import { enterFreePlan } from '../src/domain/allowance.ts';
import type { UserState } from '../src/domain/model.ts';
import type { PaidLine } from '../src/domain/paid-lines.ts';
import { hasCome } from '../src/domain/period.ts';
import { rollWith, type Settled, settle } from '../src/domain/settle.ts';
import type { SubscriptionState } from '../src/domain/subscription.ts';
import { CATALOGUE } from './catalogue.ts';
import { type Fields, isSame } from './fields.ts';
import { nextInstant } from './instants.ts';
import { nothingSeen } from './invariants.ts';
import type { Pointer, World } from './world.ts';

/** What a sync has read of Stripe. */
export interface Read {
  ticket: number;
  subscription: SubscriptionState | null;
  lines: readonly PaidLine[];
}

export class Ledger {
  readonly account: Account;
  /** What the invariants have looked at. */
  readonly seen = nothingSeen();
  /** Of the last sync. */
  settled: Settled = { done: [], duplicates: [], paidTwice: [], late: [] };
  private readonly subscriptions = new Map<string, { state: SubscriptionState; ticket: number }>();
  private readonly lines = new Map<string, { line: PaidLine; ticket: number }>();
  private readonly knownPayments = new Set<string>();
  private known: Facts | undefined;
  private tickets = 0;
  private grantIds = 0;
  /** How often a rule of the domain has had the account in its hands: while this is the same, so is the account. */
  private touches = 0;
  /** Until this instant (ms) a sync by the facts that are known changes nothing. */
  private settledUntil = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly world: World,
    bornAt: number,
    /** Settles on every sync, and says if one that might have been left out has changed something. */
    private readonly isThorough = false,
  ) {
    const now = new Date(bornAt);
    const newGrantId = (): string => `gr_${String(++this.grantIds).padStart(4, '0')}`;
    this.account = new Account(newUser(now), [], [], CATALOGUE, now, newGrantId);
    enterFreePlan(this.account);
    this.roll();
  }

  get version(): number {
    return this.touches;
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
    const lines = [...own];
    for (const other of world.paymentsOf.get(subscriptionId) ?? []) {
      if (other === payment || this.knownPayments.has(other.id)) continue;
      lines.push(...(other.lines.at(at) ?? []));
    }
    const subscription = world.subscriptions.get(subscriptionId)?.at(at) ?? null;
    return { ticket, subscription, lines };
  }

  apply({ ticket, subscription, lines }: Read, at: number): void {
    // What was due until now was decided by what was known until now.
    this.visit(at);
    if (subscription && (this.subscriptions.get(subscription.id)?.ticket ?? 0) < ticket) {
      if (this.subscriptions.get(subscription.id)?.state !== subscription) this.forget();
      this.subscriptions.set(subscription.id, { state: subscription, ticket });
    }
    for (const line of lines) this.store(line, ticket);
    this.settleUnlessSettled(at);
  }

  /**
   * Most news tells nothing new. Where the same facts have settled this account, nothing has touched it since, and no
   * instant has passed with which `settle` compares the time, it would decide the same again; that deciding the same
   * changes nothing is what thorough ledgers check.
   */
  private settleUnlessSettled(at: number): void {
    const isSettled = at < this.settledUntil;
    if (isSettled && !this.isThorough) return;
    const before = isSettled ? this.copies() : [];
    this.settleAgain(at);
    const after = isSettled ? this.copies() : [];
    if (before.length !== after.length || !before.every((one, index) => isSame(one, after[index])))
      throw new Error(`Facts that had settled the account changed it at ${new Date(at).toISOString()}`);
  }

  private copies(): Fields[] {
    const { user, grants } = this.account;
    return [{ ...user }, ...[...grants.values()].map((grant) => ({ ...grant }))];
  }

  private store(line: PaidLine, ticket: number): void {
    const before = this.lines.get(line.key);
    this.knownPayments.add(line.paymentId);
    if (before && before.ticket >= ticket) return;
    if (before?.line !== line) this.forget();
    this.lines.set(line.key, { line, ticket });
  }

  /** Something new was told. */
  private forget(): void {
    this.known = undefined;
    this.settledUntil = Number.NEGATIVE_INFINITY;
  }

  private touch(): void {
    this.touches += 1;
    this.settledUntil = Number.NEGATIVE_INFINITY;
  }

  private roll(): void {
    this.touch();
    rollWith(this.account, this.facts);
  }

  /** By what is known, as any sync would; nothing new is read. */
  settleAgain(at: number): void {
    this.visit(at);
    const { account } = this;
    const { nextDueAt } = account.user;
    this.touch();
    this.settled = settle(account, this.facts);
    // As store/account.ts.
    if (account.user.nextDueAt.getTime() !== nextDueAt.getTime()) this.roll();
    this.settledUntil = nextInstant(account, this.facts);
  }

  /** Whoever touches a user applies what is due first. */
  visit(at: number): void {
    this.account.now = new Date(at);
    if (hasCome(this.account.user.nextDueAt, this.account.now)) this.roll();
  }

  giveBonus(at: number, tokens: number, spentTokens: number): void {
    this.visit(at);
    const { account } = this;
    // Ends before anything else, so that what is spent of it at once is spent of nothing else.
    const expiresAt = new Date(at + 1);
    const key = `bonus:${account.user.lastSeq}`;
    account.grant({ key, source: 'bonus', tokens, expiresAt, details: { reason: 'Simulated' } });
    this.roll();
    if (account.user.availableTokens >= spentTokens && spentTokens > 0) this.spend(spentTokens);
  }

  spend(tokens: number): void {
    this.touch();
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
