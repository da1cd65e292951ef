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
