/** Schema of an explained ledger entry. */
import { z } from 'zod';
import { ledgerEntry, maybe, source, time, tokens } from './answers.ts';

const stripeEventIds = z.array(z.string());

const explainedGrant = z
  .strictObject({
    grantId: z.string(),
    tokens: tokens.meta({ description: 'What the entry changed in it, signed.' }),
    source,
    key: z.string(),
    amountTokens: tokens,
    offer: maybe(z.string()),
    reason: maybe(z.string()),
    windowStart: maybe(time),
    windowEnd: maybe(time),
    effectiveAt: time,
    expiresAt: maybe(time),
    invoiceId: maybe(z.string()),
    invoiceLineId: maybe(z.string()),
    checkoutSessionId: maybe(z.string()),
    subscriptionId: maybe(z.string()),
    costBasisMinor: maybe(z.int()),
    currency: maybe(z.string()),
    stripeEventIds: stripeEventIds.meta({
      description: 'Events about the payment behind it, and those whose handling granted it.',
    }),
  })
  .meta({ id: 'ExplainedGrant' });

const settledHold = z
  .strictObject({
    holdId: z.string(),
    status: z.enum(['open', 'captured', 'released', 'expired']),
    tokens,
    capturedTokens: maybe(tokens),
    createdAt: time,
    settledAt: maybe(time),
  })
  .meta({ id: 'SettledHold' });

export const explainedEntry = ledgerEntry
  .extend({
    availableAfter: tokens,
    totalUsedAfter: tokens,
    debtDeltaTokens: tokens.meta({ description: 'Signed change of the debt that came with it.' }),
    requestId: maybe(z.string()).meta({ description: '`X-Request-Id` of the call that wrote it.' }),
    grants: z.array(explainedGrant).meta({ description: 'The grants it changed, in burn order.' }),
    stripeEventIds: stripeEventIds.meta({
      description: 'Events behind its grants, and those whose handling wrote it; oldest first.',
    }),
    hold: maybe(settledHold).meta({ description: 'The hold that it captured.' }),
    refersTo: maybe(ledgerEntry).meta({ description: 'The consumption that it gave back.' }),
    referredToBy: z.array(ledgerEntry).meta({ description: 'What was given back of it, oldest first.' }),
  })
  .meta({ id: 'ExplainedLedgerEntry' });
