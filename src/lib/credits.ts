/** Check, consume, refund. Each change is one transaction under the user's lock. */
import type { Context } from '../context.ts';
import type { Account } from '../domain/account.ts';
import type { Part } from '../domain/burn.ts';
import type { Entry, UserState } from '../domain/model.ts';
import { creditsOf, TOKENS_PER_CREDIT } from '../domain/plans.ts';
import { refundConsumption } from '../domain/refund.ts';
import { invalidField, notFound, TollgateError } from '../errors.ts';
import { loadGrants, withAccount } from '../store/account.ts';
import type { DecidedEntry, Decision } from '../store/consume-batch.ts';
import type { Transaction } from '../store/database.ts';
import { entryIdOf, parseEntryId } from '../store/ids.ts';
import { findConsumption, findEntryByKey, type StoredEntry } from '../store/ledger.ts';
import { batcherOf } from './consume-batcher.ts';
import { requireTokens } from './limits.ts';
import {
  type Answer,
  accountOptions,
  type ChangeRequest,
  keyReused,
  once,
  refuseOtherRequest,
} from './requests.ts';
import { userNow } from './users.ts';

/** How much a call costs: exactly one of the three, none = one credit. */
export interface Cost {
  credits?: number | undefined;
  tokens?: number | undefined;
  feature?: string | undefined;
}

/** @throws TollgateError `invalid_request` for an unknown feature */
export function tokensOf(context: Context, { credits, tokens, feature }: Cost): number {
  if (tokens !== undefined) return requireTokens('tokens', tokens);
  if (credits !== undefined) return requireTokens('credits', credits * TOKENS_PER_CREDIT);
  if (feature === undefined) return TOKENS_PER_CREDIT;
  const { features } = context.catalogue;
  const known = Object.hasOwn(features, feature) ? features[feature] : undefined;
  if (!known) throw invalidField('feature', `unknown; one of ${Object.keys(features).join(', ')}`);
  return known.credits * TOKENS_PER_CREDIT;
}

export interface ConsumeResult extends Record<string, unknown> {
  success: true;
  entryId: string | null;
  tokensUsed: number;
  creditsRemaining: number;
  availableTokens: number;
  totalTokensUsed: number;
  from: Part[];
}

/** What a consumption answers, from its entry: the same the first time and every later one. */
export function consumeResult(userId: string, entry: DecidedEntry): ConsumeResult {
  return {
    success: true,
    entryId: entryIdOf(userId, entry.seq),
    tokensUsed: entry.overageTokens - entry.tokens,
    creditsRemaining: creditsOf(entry.availableAfter),
    availableTokens: entry.availableAfter,
    totalTokensUsed: entry.totalUsedAfter,
    from: entry.parts.map((part) => ({ ...part, tokens: -part.tokens })),
  };
}

/** The error of a balance that is too small, with what the caller needs to act on it. */
export function insufficientCredits(
  context: Context,
  { availableTokens, heldTokens, periodEnd }: Pick<UserState, 'availableTokens' | 'heldTokens' | 'periodEnd'>,
  requiredTokens: number,
): TollgateError {
  const credits = creditsOf(availableTokens);
  return new TollgateError(
    'insufficient_credits',
    `You have ${credits} credits remaining (${availableTokens} tokens)`,
    {
      members: {
        requiredTokens,
        availableTokens,
        heldTokens,
        credits,
        resetsAt: periodEnd.toISOString(),
        upgradeUrl: context.config.upgradeUrl,
      },
    },
  );
}

export interface ConsumeInput extends Cost {
  userId: string;
  metadata?: Record<string, unknown> | undefined;
}

/**
 * Takes tokens in burn order, all or nothing. Its ledger entry is its idempotency record. Many at once are decided in
 * one statement and share a commit.
 * @throws TollgateError `insufficient_credits`, `not_found`, `idempotency_key_reused`, `unavailable`
 */
export async function consume(
  context: Context,
  input: ConsumeInput,
  request: ChangeRequest,
): Promise<Answer<ConsumeResult>> {
  const consuming = consumingOf(context, input, request);
  const decision = await batcherOf(context.pool).decide(
    {
      userId: input.userId,
      key: consuming.key,
      tokens: consuming.tokens,
      requestHash: request.hash,
      feature: consuming.feature,
      metadata: consuming.metadata,
      requestId: request.requestId,
      now: context.clock.now(),
    },
    () => consumeAlone(context, input.userId, consuming),
  );
  switch (decision.outcome) {
    case 'denied':
      throw insufficientCredits(context, decision, consuming.tokens);
    case 'reused':
      throw keyReused();
    default:
      return {
        status: 200,
        body: consumeResult(input.userId, decision.entry),
        replayed: decision.outcome === 'replayed',
      };
  }
}

/** The same in a transaction of its own, for a user who needs more than the decision (something is due). */
export function consumeAlone(
  context: Context,
  userId: string,
  consuming: Consuming,
): Promise<Extract<Decision, { entry: DecidedEntry }>> {
  return withAccount(accountOptions(context), userId, async (account, tx) => {
    const { entry, replayed } = await consumeInAccount(context, account, tx, consuming);
    return { outcome: replayed ? 'replayed' : 'taken', entry };
  });
}

/** The scope of an item of a batch: a key there is another than the same one in a request by itself. */
export const BATCH_ITEM_SCOPE = 'item';

function entryKeyPrefix(scope: string): string {
  if (scope === BATCH_ITEM_SCOPE) return 'consume-item:';
  return scope.startsWith('lib:') ? 'consume:lib:' : 'consume:';
}

export function consumingOf(context: Context, input: ConsumeInput, request: ChangeRequest): Consuming {
  return {
    tokens: tokensOf(context, input),
    key: `${entryKeyPrefix(request.scope)}${request.key}`,
    feature: input.feature ?? null,
    metadata: input.metadata ?? null,
    request,
  };
}

export interface Consuming {
  tokens: number;
  key: string;
  feature: string | null;
  metadata: Record<string, unknown> | null;
  request: ChangeRequest;
}

/** The consume step for a unit of work that does more in the same transaction. */
export async function consumeInAccount(
  context: Context,
  account: Account,
  tx: Transaction,
  { tokens, key, feature, metadata, request }: Consuming,
): Promise<{ entry: Entry | StoredEntry; replayed: boolean }> {
  const earlier = await findEntryByKey(tx, account.user.id, key);
  if (earlier) {
    refuseOtherRequest(earlier.requestHash, request);
    return { entry: earlier, replayed: true };
  }
  const outcome = account.consume(tokens, {
    key,
    feature,
    metadata,
    requestHash: request.hash,
    requestId: request.requestId,
  });
  if (!outcome.ok || outcome.entry === null) throw insufficientCredits(context, account.user, tokens);
  return { entry: outcome.entry, replayed: false };
}

export interface CheckResult {
  allowed: boolean;
  requiredTokens: number;
  availableTokens: number;
  credits: number;
  resetsAt: string;
}

/** Advisory: nothing is reserved, and a consume decides for itself. */
export async function check(context: Context, userId: string, cost: Cost): Promise<CheckResult> {
  const requiredTokens = tokensOf(context, cost);
  const user = await userNow(context, userId);
  return {
    allowed: user.isMetered || user.availableTokens >= requiredTokens,
    requiredTokens,
    availableTokens: user.availableTokens,
    credits: creditsOf(user.availableTokens),
    resetsAt: user.periodEnd.toISOString(),
  };
}

export interface RefundInput {
  entryId: string;
  tokens?: number | undefined;
  reason: string;
}

/** Gives back at most what the entry took, to the grants it came from. */
export function refund(context: Context, input: RefundInput, request: ChangeRequest): Promise<Answer> {
  const place = parseEntryId(input.entryId);
  if (!place) throw notFound('ledger entry');
  return withAccount(accountOptions(context), place.userId, (account, tx) =>
    once(tx, { userId: place.userId, now: account.now }, request, async () => {
      const body = await refundInAccount(account, tx, { ...input, seq: place.seq, request });
      return { status: 200, body };
    }),
  );
}

export async function refundInAccount(
  account: Account,
  tx: Transaction,
  input: { seq: number; tokens?: number | undefined; reason: string; request: ChangeRequest },
): Promise<Record<string, unknown>> {
  const userId = account.user.id;
  const consumption = await findConsumption(tx, userId, input.seq);
  if (!consumption) throw notFound('consumption');
  const took = consumption.parts.reduce((total, part) => total + part.tokens, consumption.overageTokens);
  const refundable = took - consumption.refundedTokens;
  const tokens = input.tokens === undefined ? refundable : requireTokens('tokens', input.tokens);
  if (tokens > refundable || tokens === 0) {
    throw new TollgateError('conflict', `Of this entry ${refundable} tokens can still be given back.`, {
      members: { refundableTokens: refundable },
    });
  }
  await loadGrants(
    tx,
    account,
    consumption.parts.map((part) => part.grantId),
  );
  const entry = refundConsumption(account, consumption, tokens, {
    key: `refund:${input.request.key}`,
    reason: input.reason,
    requestId: input.request.requestId,
  });
  return {
    success: true,
    entryId: entryIdOf(userId, entry.seq),
    tokensRefunded: tokens,
    creditsRemaining: creditsOf(account.user.availableTokens),
    availableTokens: account.user.availableTokens,
    totalTokensUsed: account.user.totalTokensUsed,
    to: entry.parts,
  };
}
