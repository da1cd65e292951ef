/** Reserve first, settle later: for work whose cost is known only when it is done. */
import type { Context } from '../context.ts';
import { captureHold as capture, releaseHold as release, placeHold as reserve } from '../domain/holds.ts';
import type { Hold } from '../domain/model.ts';
import { creditsOf, TOKENS_PER_CREDIT } from '../domain/plans.ts';
import { notFound, TollgateError } from '../errors.ts';
import type { AccountRequest } from '../store/account-group.ts';
import type { AccountUnit } from '../store/account-unit.ts';
import { findUserOfHold } from '../store/grants.ts';
import { holdIdOf, newUserRowId, parseHoldId } from '../store/ids.ts';
import { decideAtDoor } from './account-door.ts';
import { type Cost, consumeInAccount, consumeResult, insufficientCredits, tokensOf } from './credits.ts';
import { type Answer, type ChangeRequest, onceIn } from './requests.ts';

export const DEFAULT_HOLD_SECONDS = 900;

export interface HoldInput extends Cost {
  userId: string;
  expiresInSeconds?: number | undefined;
  metadata?: Record<string, unknown> | undefined;
}

export async function placeHold(context: Context, input: HoldInput, request: ChangeRequest): Promise<Answer> {
  return decideAtDoor(context, holdRequest(context, input, request));
}

export function holdRequest(
  context: Context,
  input: HoldInput,
  request: ChangeRequest,
): AccountRequest<Answer> {
  const { userId } = input;
  const tokens = tokensOf(context, input);
  return {
    userId,
    now: context.clock.now(),
    needs: { answer: request },
    decide: (unit) =>
      onceIn(unit, request, () => {
        const { account } = unit;
        const expiresInSeconds = input.expiresInSeconds ?? DEFAULT_HOLD_SECONDS;
        const hold = reserve(account, {
          id: newUserRowId('hold', userId),
          key: `${request.scope}:${request.key}`,
          tokens,
          feature: input.feature ?? null,
          metadata: input.metadata ?? null,
          expiresAt: new Date(account.now.getTime() + expiresInSeconds * 1000),
        });
        if (!hold) throw insufficientCredits(context, account.user, tokens);
        const body = {
          holdId: holdIdOf(userId, hold.id),
          tokens,
          expiresAt: hold.expiresAt.toISOString(),
          availableTokens: account.user.availableTokens,
        };
        return { status: 201, body };
      }),
  };
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
  return decideAtDoor(context, await captureRequest(context, input, request));
}

export function captureRequest(
  context: Context,
  input: CaptureInput,
  request: ChangeRequest,
): Promise<AccountRequest<Answer>> {
  return settlingRequest(context, input.holdId, request, (unit, hold) => {
    const { account } = unit;
    const tokens =
      input.tokens ?? (input.credits === undefined ? hold.tokens : input.credits * TOKENS_PER_CREDIT);
    if (hold.status === 'expired') return captureLate(context, unit, { hold, tokens, request });
    if (hold.status !== 'open') throw settledBefore(hold);
    const outcome = capture(account, hold, tokens, {
      key: captureKey(hold.id),
      feature: hold.feature,
      metadata: hold.metadata,
      requestHash: request.hash,
      requestId: request.requestId,
    });
    if (!outcome.ok) throw insufficientCredits(context, account.user, tokens);
    return captureResult(unit, hold, outcome.entry && consumeResult(account.user.id, outcome.entry));
  });
}

/** Of the ledger entry. */
const captureKey = (holdRowId: string): string => `capture:${holdRowId}`;

function captureLate(
  context: Context,
  unit: AccountUnit,
  { hold, tokens, request }: { hold: Hold; tokens: number; request: ChangeRequest },
): Record<string, unknown> {
  const key = captureKey(hold.id);
  if (unit.entryByKey(key)) throw settledBefore(hold);
  if (tokens === 0) return captureResult(unit, hold, null);
  const { feature, metadata } = hold;
  const entry = consumeInAccount(context, unit.account, { tokens, key, feature, metadata, request });
  return captureResult(unit, hold, consumeResult(unit.account.user.id, entry));
}

function captureResult(
  { account }: AccountUnit,
  hold: Hold,
  consumed: Record<string, unknown> | null,
): Record<string, unknown> {
  const { id: userId, availableTokens, totalTokensUsed } = account.user;
  const nothing = { entryId: null, tokensUsed: 0, from: [] };
  return {
    success: true,
    holdId: holdIdOf(userId, hold.id),
    ...(consumed ?? nothing),
    creditsRemaining: creditsOf(availableTokens),
    availableTokens,
    totalTokensUsed,
  };
}

export async function releaseHold(context: Context, holdId: string, request: ChangeRequest): Promise<Answer> {
  return decideAtDoor(context, await releaseRequest(context, holdId, request));
}

export function releaseRequest(
  context: Context,
  holdId: string,
  request: ChangeRequest,
): Promise<AccountRequest<Answer>> {
  return settlingRequest(context, holdId, request, ({ account }, hold) => {
    if (hold.status === 'captured') throw settledBefore(hold);
    if (hold.status === 'open') release(account, hold, 'released');
    return {
      success: true,
      holdId: holdIdOf(account.user.id, hold.id),
      status: hold.status,
      releasedTokens: hold.tokens,
      availableTokens: account.user.availableTokens,
    };
  });
}

/** @throws TollgateError `not_found` where it is known before the account is asked */
async function settlingRequest(
  { pool, clock }: Context,
  holdId: string,
  request: ChangeRequest,
  work: (unit: AccountUnit, hold: Hold) => Record<string, unknown>,
): Promise<AccountRequest<Answer>> {
  const id = parseHoldId(holdId);
  if (!id) throw notFound('hold');
  const { rowId } = id;
  const userId = id.userId ?? (await findUserOfHold(pool, rowId));
  if (userId === undefined) throw notFound('hold');
  return {
    userId,
    now: clock.now(),
    needs: { answer: request, holdId: rowId, entryKey: captureKey(rowId) },
    decide: (unit) =>
      onceIn(unit, request, () => {
        const hold = unit.hold(rowId);
        if (!hold) throw notFound('hold');
        return { status: 200, body: work(unit, hold) };
      }),
  };
}

function settledBefore(hold: Hold): TollgateError {
  const how = hold.status === 'expired' ? 'captured after it expired' : hold.status;
  return new TollgateError('conflict', `This hold has been ${how} before.`, {
    members: { holdStatus: hold.status },
  });
}
