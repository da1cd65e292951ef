/** What an operator gives and takes by hand: bonus, adjustment, void; each with a reason and an audit entry. */
import type { Context } from '../context.ts';
import type { Account } from '../domain/account.ts';
import type { Grant } from '../domain/model.ts';
import { creditsOf } from '../domain/plans.ts';
import { invalidField, notFound, TollgateError } from '../errors.ts';
import { loadGrants, withAccount } from '../store/account.ts';
import { recordAudit } from '../store/audit.ts';
import type { Transaction } from '../store/database.ts';
import { findGrantId } from '../store/grants.ts';
import { requireTokens } from './limits.ts';
import { type Answer, accountOptions, type ChangeRequest, once } from './requests.ts';

export interface GrantRequest {
  userId: string;
  tokens: number;
  source: 'bonus' | 'adjustment';
  expiresAt?: Date | undefined;
  reason: string;
}

export function grantCredits(context: Context, input: GrantRequest, request: ChangeRequest): Promise<Answer> {
  return withAccount(accountOptions(context), input.userId, (account, tx) =>
    once(tx, { userId: input.userId, now: account.now }, request, async () => {
      requireTokens('tokens', input.tokens);
      if (input.expiresAt && input.expiresAt <= account.now)
        throw invalidField('expiresAt', 'must be in the future');
      if (account.user.availableTokens + input.tokens > Number.MAX_SAFE_INTEGER) {
        throw invalidField('tokens', 'would make a balance that no client can count exactly (beyond 2^53)');
      }
      const key = `${input.source}:${request.key}`;
      if (await findGrantId(tx, input.userId, key)) {
        throw new TollgateError('conflict', `A ${input.source} grant with this key exists: use a new key.`);
      }
      const grant = account.grant({
        key,
        source: input.source,
        tokens: input.tokens,
        expiresAt: input.expiresAt ?? null,
        details: { reason: input.reason },
        cause: { requestId: request.requestId },
      });
      await audit(tx, account, request, { action: 'grant', subject: grant.id, reason: input.reason });
      return { status: 201, body: grantView(grant) };
    }),
  );
}

export function voidGrant(
  context: Context,
  input: { userId: string; grantId: string; reason: string },
  request: ChangeRequest,
): Promise<Answer> {
  return withAccount(accountOptions(context), input.userId, (account, tx) =>
    once(tx, { userId: input.userId, now: account.now }, request, async () => {
      await loadGrants(tx, account, [input.grantId]);
      const grant = account.grants.get(input.grantId);
      if (!grant) throw notFound('grant');
      if (grant.voidedAt !== null) throw new TollgateError('conflict', 'This grant has been voided before.');
      account.takeOut(grant, 'voided', input.reason, {
        key: `void:${grant.id}`,
        requestId: request.requestId,
      });
      await audit(tx, account, request, { action: 'void', subject: grant.id, reason: input.reason });
      return { status: 200, body: grantView(grant) };
    }),
  );
}

async function audit(
  tx: Transaction,
  account: Account,
  request: ChangeRequest,
  act: { action: string; subject: string; reason: string },
): Promise<void> {
  await recordAudit(tx, { actor: request.actor, userId: account.user.id, now: account.now, ...act });
}

export function grantView(grant: Grant): Record<string, unknown> {
  return {
    grantId: grant.id,
    source: grant.source,
    tokens: grant.amountTokens,
    credits: creditsOf(grant.amountTokens),
    remainingTokens: grant.remainingTokens,
    heldTokens: grant.heldTokens,
    expiredTokens: grant.expiredTokens,
    voidedTokens: grant.voidedTokens,
    clawedTokens: grant.clawedTokens,
    owedTokens: grant.clawDebtTokens,
    priority: grant.priority,
    offer: grant.offer,
    reason: grant.reason,
    effectiveAt: grant.effectiveAt.toISOString(),
    expiresAt: grant.expiresAt?.toISOString() ?? null,
    closedAt: grant.closedAt?.toISOString() ?? null,
    voidedAt: grant.voidedAt?.toISOString() ?? null,
    invoiceId: grant.invoiceId,
    invoiceLineId: grant.invoiceLineId,
    checkoutSessionId: grant.checkoutSessionId,
    costBasisMinor: grant.costBasisMinor,
    currency: grant.currency,
    key: grant.key,
    createdAt: grant.createdAt.toISOString(),
  };
}
