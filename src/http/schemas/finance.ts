/** Schemas of the finance answers: amounts in minor units of their currency, tokens as integers. */
import { z } from 'zod';
import { DIFFERENCE_KINDS } from '../../domain/differences.ts';
import { ReconciliationStatus, RepairState } from '../../store/reconciliations.ts';

const time = z.iso.datetime();
const side = z.record(z.string(), z.unknown()).nullable();

export const reconciliationRun = z
  .strictObject({
    runId: z.string(),
    status: z.enum(ReconciliationStatus),
    userId: z.string().nullable(),
    since: time.nullable(),
    counts: z
      .record(z.string(), z.int())
      .meta({ description: 'What was compared, and differences by kind.' }),
    error: z.string().nullable(),
    createdAt: time,
    startedAt: time.nullable(),
    finishedAt: time.nullable(),
  })
  .meta({ id: 'Reconciliation' });

export const reconciliationDifference = z
  .strictObject({
    id: z.string(),
    runId: z.string(),
    kind: z.enum(DIFFERENCE_KINDS),
    subjectId: z.string(),
    userId: z.string().nullable(),
    subscriptionId: z.string().nullable(),
    paymentId: z.string().nullable().meta({ description: 'The invoice or the Checkout session.' }),
    grantId: z.string().nullable(),
    stripeSide: side,
    ourSide: side,
    moneyMinor: z.int().nullable(),
    currency: z.string().nullable(),
    tokens: z.int().nullable(),
    repair: z.enum(RepairState),
    repairedAt: time.nullable(),
    outcome: z.string().nullable().meta({ description: 'What the repair did, or what a person has to do.' }),
    error: z.string().nullable(),
    createdAt: time,
  })
  .meta({ id: 'ReconciliationDifference' });

const minors = <Name extends string>(...names: Name[]) =>
  z.strictObject(
    Object.fromEntries(names.map((name) => [`${name}Minor`, z.int()])) as Record<`${Name}Minor`, z.ZodInt>,
  );
const tokenCounts = <Name extends string>(...names: Name[]) =>
  z.strictObject(Object.fromEntries(names.map((name) => [name, z.int()])) as Record<Name, z.ZodInt>);

const creditRow = minors('opening', 'issued', 'recognised', 'breakage', 'voided', 'clawed', 'closing').extend(
  {
    currency: z.string().nullable(),
    offer: z.string().nullable(),
    source: z.string(),
    openingTokens: z.int(),
    issuedTokens: z.int(),
    consumedTokens: z.int(),
    expiredTokens: z.int(),
    voidedTokens: z.int(),
    clawedTokens: z.int(),
    closingTokens: z.int(),
  },
);

export const financeClose = z
  .strictObject({
    month: z.string(),
    from: time,
    to: time,
    isFinal: z.boolean(),
    currencies: z.array(
      z.strictObject({
        currency: z.string(),
        stripe: minors('paid', 'outside', 'bookedLater', 'refunded', 'disputed', 'credited'),
        booked: minors('paid', 'paidEarlier', 'bought', 'noTokens', 'other'),
        unissued: minors('opening', 'bought', 'issued', 'lapsed', 'closing'),
        deferred: minors('opening', 'issued', 'recognised', 'breakage', 'voided', 'clawed', 'closing'),
        differenceMinor: z.int(),
      }),
    ),
    credits: z.array(creditRow),
    lines: z.array(
      minors('bought', 'noTokens', 'opening', 'issued', 'lapsed', 'closing').extend({
        currency: z.string(),
        offer: z.string().nullable(),
      }),
    ),
    tokens: tokenCounts(
      ...(['opening', 'issued', 'consumed', 'expired', 'voided', 'clawed', 'closing'] as const),
      ...(['debt', 'ledger', 'balances', 'overage'] as const),
    ),
    differences: z.array(
      z.strictObject({
        kind: z.string(),
        subjectId: z.string().nullable(),
        currency: z.string().nullable(),
        moneyMinor: z.int().nullable(),
        tokens: z.int().nullable(),
      }),
    ),
  })
  .meta({ id: 'FinanceClose', description: 'Amounts in minor units of their currency.' });
