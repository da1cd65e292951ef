/** Check and consume. Each change is decided by itself under the user's lock; many at once share a commit. */
import type { Context } from '../context.ts';
import type { Account } from '../domain/account.ts';
import type { Part } from '../domain/burn.ts';
import type { Entry, UserState } from '../domain/model.ts';
import { creditsOf, TOKENS_PER_CREDIT } from '../domain/plans.ts';
import { invalidField, TollgateError } from '../errors.ts';
import type { AccountRequest } from '../store/account-group.ts';
import type { DecidedEntry, Decision } from '../store/consume-batch.ts';
import { entryIdOf } from '../store/ids.ts';
import { decideAtDoor } from './account-door.ts';
import { batcherOf, type PendingConsume } from './consume-batcher.ts';
import { requireTokens } from './limits.ts';
import { type Answer, type ChangeRequest, keyReused, refuseOtherRequest } from './requests.ts';
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
  const pending = new Pending(context, input, request, context.clock.now());
  return consumeAnswer(context, pending, await batcherOf(context.pool).decide(pending));
}

/** A class, as thousands wait at once: one object each, and nothing made for what a batch decides. */
export class Pending implements PendingConsume {
  readonly #context: Context;
  readonly userId: string;
  readonly key: string;
  readonly tokens: number;
  readonly requestHash: Buffer;
  readonly feature: string | null;
  readonly metadata: Record<string, unknown> | null;
  readonly requestId: string | null;
  readonly now: Date;

  /** @throws TollgateError `invalid_request` for an unknown feature */
  constructor(context: Context, input: ConsumeInput, request: ChangeRequest, now: Date) {
    const { key, tokens, feature, metadata } = consumingOf(context, input, request);
    this.#context = context;
    this.userId = input.userId;
    this.key = key;
    this.tokens = tokens;
    this.requestHash = request.hash;
    this.feature = feature;
    this.metadata = metadata;
    this.requestId = request.requestId;
    this.now = now;
  }

  decideOtherwise(): Promise<Decision> {
    const { userId, key, tokens, feature, metadata, requestHash: hash, requestId } = this;
    const consuming = { key, tokens, feature, metadata, request: { hash, requestId } };
    return decideAtDoor(this.#context, consumeRequest(this.#context, userId, consuming));
  }
}

/** @throws TollgateError for a refusal */
export function consumeAnswer(
  context: Context,
  { userId, tokens }: Pick<Pending, 'userId' | 'tokens'>,
  decision: Decision,
): Answer<ConsumeResult> {
  if (decision.outcome === 'denied') throw insufficientCredits(context, decision, tokens);
  if (decision.outcome === 'reused') throw keyReused();
  const body = consumeResult(userId, decision.entry);
  return { status: 200, body, replayed: decision.outcome === 'replayed' };
}

/** The same for a user who needs more than a batch can decide (something is due, a metered plan is beyond its balance). */
export function consumeRequest(
  context: Context,
  userId: string,
  consuming: Consuming,
): AccountRequest<Extract<Decision, { entry: DecidedEntry }>> {
  const { key, request } = consuming;
  return {
    userId,
    now: context.clock.now(),
    needs: { entryKey: key },
    decide(unit) {
      const earlier = unit.entryByKey(key);
      if (!earlier) return { outcome: 'taken', entry: consumeInAccount(context, unit.account, consuming) };
      refuseOtherRequest(earlier.requestHash, request);
      return { outcome: 'replayed', entry: earlier };
    },
  };
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
  request: Pick<ChangeRequest, 'hash' | 'requestId'>;
}

/**
 * The consume step of a request that does more.
 * @param consuming its key is of no entry yet
 */
export function consumeInAccount(
  context: Context,
  account: Account,
  { tokens, key, feature, metadata, request }: Consuming,
): Entry {
  const outcome = account.consume(tokens, {
    key,
    feature,
    metadata,
    requestHash: request.hash,
    requestId: request.requestId,
  });
  if (!outcome.ok || outcome.entry === null) throw insufficientCredits(context, account.user, tokens);
  return outcome.entry;
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
