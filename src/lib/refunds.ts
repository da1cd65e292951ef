/** Giving back what a consumption took. */
import type { Context } from '../context.ts';
import type { Consumption } from '../domain/model.ts';
import { creditsOf } from '../domain/plans.ts';
import { refundConsumption } from '../domain/refund.ts';
import { notFound, TollgateError } from '../errors.ts';
import type { AccountRequest } from '../store/account-group.ts';
import type { AccountUnit } from '../store/account-unit.ts';
import { entryIdOf, parseEntryId } from '../store/ids.ts';
import { decideAtDoor } from './account-door.ts';
import { requireTokens } from './limits.ts';
import { type Answer, type ChangeRequest, onceIn } from './requests.ts';

export interface RefundInput {
  entryId: string;
  tokens?: number | undefined;
  reason: string;
}

/** Gives back at most what the entry took, to the grants it came from. */
export async function refund(context: Context, input: RefundInput, request: ChangeRequest): Promise<Answer> {
  return decideAtDoor(context, refundRequest(context, input, request));
}

/** @throws TollgateError `not_found` for what is no entry's id */
export function refundRequest(
  context: Context,
  input: RefundInput,
  request: ChangeRequest,
): AccountRequest<Answer> {
  const place = parseEntryId(input.entryId);
  if (!place) throw notFound('ledger entry');
  const { userId, seq } = place;
  return {
    userId,
    now: context.clock.now(),
    needs: { answer: request, consumptionSeq: seq },
    decide: (unit) =>
      onceIn(unit, request, () => ({
        status: 200,
        body: refundInUnit(unit, {
          ...input,
          seq,
          key: `refund:${request.key}`,
          requestId: request.requestId,
        }),
      })),
  };
}

/** What of a consumption was not given back yet. */
export function refundableOf({ parts, overageTokens, refundedTokens }: Consumption): number {
  return parts.reduce((total, part) => total + part.tokens, overageTokens) - refundedTokens;
}

/**
 * @param unit has read the consumption
 * @param input.key of the ledger entry
 */
export function refundInUnit(
  unit: AccountUnit,
  input: { seq: number; tokens?: number | undefined; reason: string; key: string; requestId: string | null },
): Record<string, unknown> {
  const { account } = unit;
  const { user } = account;
  const consumption = unit.consumption(input.seq);
  if (!consumption) throw notFound('consumption');
  const refundable = refundableOf(consumption);
  const tokens = input.tokens === undefined ? refundable : requireTokens('tokens', input.tokens);
  if (tokens > refundable || tokens === 0) {
    throw new TollgateError('conflict', `Of this entry ${refundable} tokens can still be given back.`, {
      members: { refundableTokens: refundable },
    });
  }
  unit.bringGrants(consumption.parts.map((part) => part.grantId));
  const entry = refundConsumption(account, consumption, tokens, {
    key: input.key,
    reason: input.reason,
    requestId: input.requestId,
  });
  return {
    success: true,
    entryId: entryIdOf(user.id, entry.seq),
    tokensRefunded: tokens,
    creditsRemaining: creditsOf(user.availableTokens),
    availableTokens: user.availableTokens,
    totalTokensUsed: user.totalTokensUsed,
    to: entry.parts,
  };
}
