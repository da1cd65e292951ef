/** Stripe against the ledger, and the finance month. */
import { z } from 'zod';
import { closeCsv, closeMonth } from '../../finance/close.ts';
import { startReconciliation } from '../../finance/reconcile.ts';
import { repairDifference } from '../../finance/repair.ts';
import {
  differencesCsv,
  differenceView,
  listReconciliations,
  listRunDifferences,
  readReconciliation,
} from '../../finance/runs.ts';
import { type Route, route } from '../route.ts';
import { answers, pageOf } from '../schemas/answers.ts';
import { financeClose, reconciliationDifference, reconciliationRun } from '../schemas/finance.ts';
import { id, page, timestamp, userId } from '../schemas/inputs.ts';

const TAG = 'Finance';
const auth = { kind: 'apiKey', scopes: ['admin'] } as const;
const common = { tag: TAG, auth, idempotency: 'none' } as const;
const monthParams = z.strictObject({
  month: z.string().regex(/^20\d\d-(?:0[1-9]|1[0-2])$/, 'must be a month, e.g. 2026-01'),
});
const runParams = z.strictObject({ runId: id });

export const financeRoutes: Route[] = [
  route({
    ...common,
    method: 'post',
    path: '/v1/finance/reconciliations',
    summary: 'Compare Stripe with the ledger',
    description: 'A worker does it and changes nothing. Everything, or one user; payments made since a time.',
    body: z.strictObject({ userId: userId.optional(), since: timestamp.optional() }),
    responses: { 202: answers('Asked for.', z.strictObject({ runId: z.string() })) },
    async handler(context, { body }) {
      return { status: 202, body: await startReconciliation(context, body) };
    },
  }),
  route({
    ...common,
    method: 'get',
    path: '/v1/finance/reconciliations',
    summary: 'Reconciliations, newest first',
    query: page,
    responses: { 200: answers('A page.', pageOf(reconciliationRun)) },
    async handler(context, { query }) {
      return { status: 200, body: await listReconciliations(context, query) };
    },
  }),
  route({
    ...common,
    method: 'get',
    path: '/v1/finance/reconciliations/{runId}',
    summary: 'A reconciliation',
    params: runParams,
    responses: { 200: answers('The run.', reconciliationRun) },
    async handler(context, { params }) {
      return { status: 200, body: await readReconciliation(context, params.runId) };
    },
  }),
  route({
    ...common,
    method: 'get',
    path: '/v1/finance/reconciliations/{runId}/differences',
    summary: 'What a reconciliation has found',
    params: runParams,
    query: page,
    responses: { 200: answers('A page.', pageOf(reconciliationDifference)) },
    async handler(context, { params, query }) {
      return { status: 200, body: await listRunDifferences(context, params.runId, query) };
    },
  }),
  route({
    ...common,
    method: 'get',
    path: '/v1/finance/reconciliations/{runId}/differences.csv',
    summary: 'What a reconciliation has found, as CSV',
    params: runParams,
    responses: { 200: { description: 'All of them.', schema: z.string(), contentType: 'text/csv' } },
    async handler(context, { params }) {
      return { status: 200, text: await differencesCsv(context, params.runId) };
    },
  }),
  route({
    ...common,
    method: 'post',
    path: '/v1/finance/reconciliations/{runId}/differences/{id}/repair',
    summary: 'Mend a difference',
    description:
      'The same sync as of a webhook, and for what no sync can mend a repair of its own. What needs a person says so in `outcome`.',
    params: z.strictObject({ runId: id, id }),
    body: z.strictObject({}),
    responses: { 200: answers('The difference after it.', reconciliationDifference) },
    async handler(context, { params, actor }) {
      const repaired = await repairDifference(context, params.runId, params.id, actor);
      return { status: 200, body: differenceView(repaired) };
    },
  }),
  // First: `{month}` would match a name with .csv as well.
  route({
    ...common,
    method: 'get',
    path: '/v1/finance/close/{month}.csv',
    summary: 'The finance month as CSV',
    params: monthParams,
    responses: { 200: { description: 'One number a line.', schema: z.string(), contentType: 'text/csv' } },
    async handler(context, { params }) {
      return { status: 200, text: closeCsv(await closeMonth(context, params.month)) };
    },
  }),
  route({
    ...common,
    method: 'get',
    path: '/v1/finance/close/{month}',
    summary: 'The finance month',
    description:
      'Money paid in Stripe, credits issued, used, expired and owed. Reads Stripe and the whole ledger.',
    params: monthParams,
    responses: { 200: answers('The month.', financeClose) },
    async handler(context, { params }) {
      return { status: 200, body: await closeMonth(context, params.month) };
    },
  }),
];
