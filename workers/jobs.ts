/** Job name → one call into src. Every one may run twice to its end. */
import type { Context } from '../src/context.ts';
import { runReconciliation, startReconciliation, sweepReconciliations } from '../src/finance/reconcile.ts';
import { verifyLedgers } from '../src/lib/parking.ts';
import { rollUsers } from '../src/lib/roll-users.ts';
import { runWorkflow } from '../src/lib/workflows.ts';
import { type JobRun, payloadSchemas } from '../src/queue.ts';
import { ENTRIES_PER_PART_MIN, rotateLedger } from '../src/store/ledger-rotation.ts';
import { listUnfinishedWorkflows } from '../src/store/workflows.ts';
import { backfillEvents, sweepInbox } from '../src/stripe/backfill.ts';
import { handleStripeEvent } from '../src/stripe/handle.ts';
import { isScheduled, type ScheduledJob } from './schedule.ts';

const PAGE = 200;
/** An unfinished workflow of this age may have lost its job between commit and queue. */
const LOST_AFTER_MS = 60_000;

/** @throws what the work failed with, and ZodError for a payload that no code of ours has made */
export async function runJob(context: Context, { name, data, isLast }: JobRun): Promise<void> {
  if (name === 'handle-stripe-event') {
    await handleStripeEvent(context, payloadSchemas[name].parse(data).eventId);
  } else if (name === 'run-workflow') {
    await runWorkflow(context, payloadSchemas[name].parse(data).workflowId, { isLast });
  } else if (name === 'run-reconciliation') {
    await runReconciliation(context, payloadSchemas[name].parse(data).runId);
  } else if (isScheduled(name)) {
    await SCHEDULED[name](context);
  } else {
    throw new Error(`There is no job "${name}".`);
  }
}

const SCHEDULED: Record<ScheduledJob, (context: Context) => Promise<unknown>> = {
  'reset-due-users': (context) => rollUsers(context, 'due'),
  'check-subscription-expiry': (context) => rollUsers(context, 'lapsed'),
  'sweep-inbox': sweep,
  'backfill-events': (context) => backfillEvents(context),
  'verify-ledger': verifyLedgers,
  reconcile: (context) => startReconciliation(context, {}),
  'rotate-ledger': ({ config, clock }) =>
    rotateLedger(config.databaseUrl, clock.now(), { entriesMin: ENTRIES_PER_PART_MIN }),
};

async function sweep(context: Context): Promise<void> {
  await sweepInbox(context);
  await sweepReconciliations(context);
  const before = new Date(context.clock.now().getTime() - LOST_AFTER_MS);
  for (const workflowId of await listUnfinishedWorkflows(context.pool, { before, limit: PAGE })) {
    context.jobs.wake({ name: 'run-workflow', workflowId });
  }
}
