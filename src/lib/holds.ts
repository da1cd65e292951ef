/** Reserve first, settle later: for work whose cost is known only when it is done. */
import type { Context } from '../context.ts';
import type { Account } from '../domain/account.ts';
import { captureHold as capture, releaseHold as release, placeHold as reserve } from '../domain/holds.ts';
import type { Hold } from '../domain/model.ts';
import { creditsOf, TOKENS_PER_CREDIT } from '../domain/plans.ts';
import { notFound, TollgateError } from '../errors.ts';
import { loadGrants, withAccount } from '../store/account.ts';
import type { Transaction } from '../store/database.ts';
import { findHold, findUserOfHold } from '../store/grants.ts';
import { newUserRowId } from '../store/ids.ts';
import { findEntryByKey } from '../store/ledger.ts';
import { type Cost, consumeInAccount, consumeResult, insufficientCredits, tokensOf } from './credits.ts';
import { type Answer, accountOptions, type ChangeRequest, once } from './requests.ts';

export const DEFAULT_HOLD_SECONDS = 900;

export interface HoldInput extends Cost {
  userId: string;
  expiresInSeconds?: number | undefined;
  metadata?: Record<string, unknown> | undefined;
}

export function placeHold(context: Context, input: HoldInput, request: ChangeRequest): Promise<Answer> {
  const tokens = tokensOf(context, input);
  return withAccount(accountOptions(context), input.userId, (account, tx) =>
    once(tx, { userId: input.userId, now: account.now }, request, async () => {
      const expiresInSeconds = input.expiresInSeconds ?? DEFAULT_HOLD_SECONDS;
      const hold = reserve(account, {
        id: newUserRowId('hold', input.userId),
        key: `${request.scope}:${request.key}`,
        tokens,
        feature: input.feature ?? null,
        metadata: input.metadata ?? null,
        expiresAt: new Date(account.now.getTime() + expiresInSeconds * 1000),
      });
      if (!hold) throw insufficientCredits(context, account.user, tokens);
      const body = {
        holdId: hold.id,
        tokens,
        expiresAt: hold.expiresAt.toISOString(),
        availableTokens: account.user.availableTokens,
      };
      return { status: 201, body };
    }),
  );
}

export interface CaptureInput {
  holdId: string;
  tokens?: number | undefined;
  credits?: number | undefined;
}

/**
 * Consumes any amount from 0 (without one: what was held) and gives back the rest. After expiry it is tried as a
 * plain consume, since the tokens have gone back.
 * @throws TollgateError `insufficient_credits` (the hold stands), `conflict` where it was settled before
 */
export async function captureHold(
  context: Context,
  input: CaptureInput,
  request: ChangeRequest,
): Promise<Answer> {
  return settling(context, input.holdId, request, async (account, tx, hold) => {
    const tokens =
      input.tokens ?? (input.credits === undefined ? hold.tokens : input.credits * TOKENS_PER_CREDIT);
    const cause = {
      key: `capture:${hold.id}`,
      feature: hold.feature,
      metadata: hold.metadata,
      requestHash: request.hash,
      requestId: request.requestId,
    };
    if (hold.status === 'expired') return captureLate(context, account, tx, { hold, tokens, request });
    if (hold.status !== 'open') throw settledBefore(hold);
    const outcome = capture(account, hold, tokens, cause);
    if (!outcome.ok) throw insufficientCredits(context, account.user, tokens);
    return captureResult(account, hold, outcome.entry && consumeResult(account.user.id, outcome.entry));
  });
}

async function captureLate(
  context: Context,
  account: Account,
  tx: Transaction,
  { hold, tokens, request }: { hold: Hold; tokens: number; request: ChangeRequest },
): Promise<Record<string, unknown>> {
  const key = `capture:${hold.id}`;
  if (await findEntryByKey(tx, account.user.id, key)) throw settledBefore(hold);
  if (tokens === 0) return captureResult(account, hold, null);
  const { entry } = await consumeInAccount(context, account, tx, {
    tokens,
    key,
    feature: hold.feature,
    metadata: hold.metadata,
    request,
  });
  return captureResult(account, hold, consumeResult(account.user.id, entry));
}

function captureResult(
  account: Account,
  hold: Hold,
  consumed: Record<string, unknown> | null,
): Record<string, unknown> {
  const { availableTokens, totalTokensUsed } = account.user;
  const nothing = { entryId: null, tokensUsed: 0, from: [] };
  return {
    success: true,
    holdId: hold.id,
    ...(consumed ?? nothing),
    creditsRemaining: creditsOf(availableTokens),
    availableTokens,
    totalTokensUsed,
  };
}

export function releaseHold(context: Context, holdId: string, request: ChangeRequest): Promise<Answer> {
  return settling(context, holdId, request, async (account, _tx, hold) => {
    if (hold.status === 'captured') throw settledBefore(hold);
    if (hold.status === 'open') release(account, hold, 'released');
    return {
      success: true,
      holdId: hold.id,
      status: hold.status,
      releasedTokens: hold.tokens,
      availableTokens: account.user.availableTokens,
    };
  });
}

/** Runs `work` on a hold under its user's lock, with the grants that its tokens may return to. */
async function settling(
  context: Context,
  holdId: string,
  request: ChangeRequest,
  work: (account: Account, tx: Transaction, hold: Hold) => Promise<Record<string, unknown>>,
): Promise<Answer> {
  const userId = await findUserOfHold(context.pool, holdId);
  if (userId === undefined) throw notFound('hold');
  return withAccount(accountOptions(context), userId, (account, tx) =>
    once(tx, { userId, now: account.now }, request, async () => {
      const hold = account.holds.get(holdId) ?? (await findHold(tx, userId, holdId));
      if (!hold) throw notFound('hold');
      await loadGrants(
        tx,
        account,
        hold.parts.map((part) => part.grantId),
      );
      return { status: 200, body: await work(account, tx, hold) };
    }),
  );
}

function settledBefore(hold: Hold): TollgateError {
  const how = hold.status === 'expired' ? 'captured after it expired' : hold.status;
  return new TollgateError('conflict', `This hold has been ${how} before.`, {
    members: { holdStatus: hold.status },
  });
}
