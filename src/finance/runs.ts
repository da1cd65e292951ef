/** Runs and differences as the operator sees them. */
import type { Context } from '../context.ts';
import { notFound } from '../errors.ts';
import { type Page, type PageRequest, pageOf } from '../lib/lists.ts';
import {
  findRun,
  listDifferences,
  listRuns,
  type Run,
  type StoredDifference,
} from '../store/reconciliations.ts';
import { type Cell, csvLine } from './csv.ts';
import { insertReconciliation, runReconciliation, type Scope } from './reconcile.ts';
import { repairDifference } from './repair.ts';

const CSV_PAGE = 500;

export function listReconciliations({ pool }: Context, page: PageRequest): Promise<Page> {
  return pageOf(page, {
    list: 'reconciliations',
    owner: '',
    read: (before, limit) => listRuns(pool, before === null ? null : String(before), limit),
    positionOf: ({ id }) => id,
    view: runView,
  });
}

/** @throws TollgateError `not_found` */
export async function readReconciliation({ pool }: Context, runId: string): Promise<Record<string, unknown>> {
  const run = await findRun(pool, runId);
  if (!run) throw notFound('reconciliation');
  return runView(run);
}

/** @throws TollgateError `not_found` */
export async function listRunDifferences(context: Context, runId: string, page: PageRequest): Promise<Page> {
  await readReconciliation(context, runId);
  return pageOf(page, {
    list: 'differences',
    owner: runId,
    read: (after, limit) =>
      listDifferences(context.pool, runId, after === null ? null : String(after), limit),
    positionOf: ({ id }) => id,
    view: differenceView,
  });
}

/**
 * A whole run at once, for the command line.
 * @param repairAs who mends what was found; null = nobody
 */
export async function reconcileNow(
  context: Context,
  scope: Scope,
  repairAs: string | null,
): Promise<{ run: Record<string, unknown>; differences: Record<string, unknown>[] }> {
  const { runId } = await insertReconciliation(context, scope);
  await runReconciliation(context, runId);
  const differences: Record<string, unknown>[] = [];
  let after: string | null = null;
  for (;;) {
    const page: StoredDifference[] = await listDifferences(context.pool, runId, after, CSV_PAGE);
    for (const one of page) {
      const shown = repairAs === null ? one : await repairDifference(context, runId, one.id, repairAs);
      differences.push(differenceView(shown));
    }
    after = page.at(-1)?.id ?? null;
    if (after === null || page.length < CSV_PAGE) break;
  }
  return { run: await readReconciliation(context, runId), differences };
}

function runView(run: Run): Record<string, unknown> {
  return {
    runId: run.id,
    status: run.status,
    userId: run.userId,
    since: run.since?.toISOString() ?? null,
    counts: run.counts,
    error: run.error,
    createdAt: run.createdAt.toISOString(),
    startedAt: run.startedAt?.toISOString() ?? null,
    finishedAt: run.finishedAt?.toISOString() ?? null,
  };
}

export function differenceView({ repairedAt, createdAt, ...one }: StoredDifference): Record<string, unknown> {
  return {
    ...one,
    repairedAt: repairedAt?.toISOString() ?? null,
    createdAt: createdAt.toISOString(),
  };
}

const COLUMNS = [
  'id',
  'kind',
  'subjectId',
  'userId',
  'subscriptionId',
  'paymentId',
  'grantId',
  'moneyMinor',
  'currency',
  'tokens',
  'stripeSide',
  'ourSide',
  'repair',
  'repairedAt',
  'outcome',
  'error',
  'createdAt',
] as const;

/** @throws TollgateError `not_found` */
export async function differencesCsv(context: Context, runId: string): Promise<string> {
  await readReconciliation(context, runId);
  let text = csvLine(COLUMNS);
  let after: string | null = null;
  for (;;) {
    const page: StoredDifference[] = await listDifferences(context.pool, runId, after, CSV_PAGE);
    for (const one of page) {
      const view = differenceView(one);
      text += csvLine(COLUMNS.map((column) => cellOf(view[column])));
    }
    const last = page.at(-1);
    if (!last || page.length < CSV_PAGE) return text;
    after = last.id;
  }
}

function cellOf(value: unknown): Cell {
  if (typeof value === 'string' || typeof value === 'number') return value;
  return value === null || value === undefined ? null : JSON.stringify(value);
}
