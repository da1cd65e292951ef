// Runs of the reconciliation as a worker does them, and hands that reach into the database behind its back.

import { runReconciliation, startReconciliation } from '../../src/finance/reconcile.ts';
import { repairDifference } from '../../src/finance/repair.ts';
import { findRun, listDifferences, type StoredDifference } from '../../src/store/reconciliations.ts';
import type { Service } from '../stripe/harness.ts';

export interface Outcome {
  runId: string;
  counts: Record<string, number>;
  differences: StoredDifference[];
  /** `kind user`, sorted. */
  found: string[];
}

export async function reconcile(
  { context }: Pick<Service, 'context'>,
  scope: { userId?: string; since?: Date } = {},
  names: Record<string, string> = {},
): Promise<Outcome> {
  const { runId } = await startReconciliation(context, scope);
  await runReconciliation(context, runId);
  const run = await findRun(context.pool, runId);
  const differences = await listDifferences(context.pool, runId, null, 1000);
  const found = differences.map(({ kind, userId }) => `${kind} ${names[userId ?? ''] ?? userId}`).sort();
  return { runId, counts: run!.counts, differences, found };
}

export async function repairAll({ context }: Service, { runId, differences }: Outcome): Promise<string[]> {
  const states: string[] = [];
  for (const { id, kind } of differences) {
    const { repair, outcome, error } = await repairDifference(context, runId, id, 'test');
    states.push(repair === 'repaired' ? `${kind} repaired` : `${kind} ${repair}: ${outcome} ${error}`);
  }
  return states;
}

/** SQL by hand, past the trigger that keeps the ledger append-only. */
export async function byHand({ context }: Service, sql: string, values: unknown[] = []): Promise<void> {
  const client = await context.pool.connect();
  try {
    await client.query('begin');
    await client.query('set local session_replication_role = replica');
    const { rowCount } = await client.query(sql, values);
    if (rowCount === 0) throw new Error(`Nothing to break: ${sql}`);
    await client.query('commit');
  } finally {
    client.release();
  }
}
