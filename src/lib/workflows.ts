/**
 * The work of the seed's routes: one credit, taken in the same transaction that writes the work down and before it is
 * started. What the work does is the host app's (WORKFLOW_RUNNER_URL). Work that fails gives its credit back.
 */
import { Webhook } from 'standardwebhooks';
import type { Context } from '../context.ts';
import { creditsOf } from '../domain/plans.ts';
import { notFound } from '../errors.ts';
import { withAccount } from '../store/account.ts';
import type { AccountRequest } from '../store/account-group.ts';
import { type AccountUnit, readUnit } from '../store/account-unit.ts';
import { newUserRowId } from '../store/ids.ts';
import { beginWorkflow, findWorkflow, finishWorkflow, type Workflow } from '../store/workflows.ts';
import { decideAtDoor } from './account-door.ts';
import { consumeInAccount, tokensOf } from './credits.ts';
import { refundableOf, refundInUnit } from './refunds.ts';
import { type Answer, accountOptions, type ChangeRequest, onceIn } from './requests.ts';

export type WorkflowKind = 'code_generation' | 'code_review';

export interface WorkflowInput {
  userId: string;
  kind: WorkflowKind;
  input: Record<string, unknown>;
}

/** @returns body `{workflowId, creditInfo: {tokensUsed, creditsRemaining, totalTokensUsed}}` */
export async function startWorkflow(
  context: Context,
  input: WorkflowInput,
  request: ChangeRequest,
): Promise<Answer> {
  const answer = await decideAtDoor(context, workflowRequest(context, input, request));
  const workflowId = String(answer.body.workflowId);
  if (!answer.replayed) context.jobs.wake({ name: 'run-workflow', workflowId });
  return answer;
}

export function workflowRequest(
  context: Context,
  { userId, kind, input }: WorkflowInput,
  request: ChangeRequest,
): AccountRequest<Answer> {
  const tokens = tokensOf(context, { feature: kind });
  const start = (unit: AccountUnit): Record<string, unknown> => {
    const { account } = unit;
    const id = newUserRowId('wf', userId);
    const consuming = { tokens, key: `workflow:${id}`, feature: kind, metadata: null, request };
    const { seq } = consumeInAccount(context, account, consuming);
    unit.keepWorkflow({ id, kind, input, entrySeq: seq, createdAt: account.now });
    const { availableTokens, totalTokensUsed } = account.user;
    const creditsRemaining = creditsOf(availableTokens);
    return { workflowId: id, creditInfo: { tokensUsed: tokens, creditsRemaining, totalTokensUsed } };
  };
  return {
    userId,
    now: context.clock.now(),
    needs: { answer: request },
    decide: (unit) => onceIn(unit, request, () => ({ status: 200, body: start(unit) })),
  };
}

/** @throws TollgateError `not_found`, for another user's work as well */
export async function readWorkflow(
  context: Context,
  userId: string,
  workflowId: string,
): Promise<Record<string, unknown>> {
  const workflow = await findWorkflow(context.pool, workflowId);
  if (!workflow || workflow.userId !== userId) throw notFound('workflow');
  return {
    workflowId: workflow.id,
    kind: workflow.kind,
    status: workflow.status,
    result: workflow.result,
    error: workflow.error,
    createdAt: workflow.createdAt.toISOString(),
    finishedAt: workflow.finishedAt?.toISOString() ?? null,
  };
}

/** The runner's own refusal (4xx): trying again would not help. */
class WorkflowRefused extends Error {}

/**
 * Runs one piece of work. It may run twice (a job can): only the first end counts.
 * @throws whatever the runner failed with, while attempts are left
 */
export async function runWorkflow(
  context: Context,
  workflowId: string,
  attempt: { isLast: boolean },
): Promise<void> {
  const workflow = await findWorkflow(context.pool, workflowId);
  if (!workflow || !(await beginWorkflow(context.pool, workflow))) return;
  let result: Record<string, unknown>;
  try {
    result = await callRunner(context, workflow);
  } catch (error) {
    if (!attempt.isLast && !(error instanceof WorkflowRefused)) throw error;
    return failWorkflow(context, workflow, error instanceof Error ? error.message : String(error));
  }
  const end = { status: 'succeeded' as const, result, error: null, now: context.clock.now() };
  await finishWorkflow(context.pool, workflow, end);
}

/** The end and the refund are one transaction, so neither is there without the other. */
function failWorkflow(context: Context, workflow: Workflow, error: string): Promise<void> {
  return withAccount(accountOptions(context), workflow.userId, async (account, tx) => {
    const end = { status: 'failed' as const, result: null, error, now: account.now };
    if (!(await finishWorkflow(tx, workflow, end))) return;
    const seq = workflow.entrySeq;
    const unit = await readUnit(tx, account, { consumptionSeq: seq });
    const consumption = unit.consumption(seq);
    // The host app may have been faster, and may have taken the work's id for its key.
    if (!consumption || refundableOf(consumption) === 0) return;
    const key = `workflow-refund:${workflow.id}`;
    refundInUnit(unit, { seq, reason: `Work failed: ${error}`, key, requestId: null });
  });
}

/** How long a runner may take to answer; a longer piece of work answers at once and reports by itself. */
const RUNNER_TIMEOUT_MS = 30_000;
/** Of the runner's answer so much is kept. */
const RUNNER_ANSWER_CHARACTERS = 10_000;

async function callRunner({ config, clock }: Context, workflow: Workflow): Promise<Record<string, unknown>> {
  const { id, userId, kind, input } = workflow;
  const runner = config.workflowRunner;
  if (!runner)
    return { message: `Ran ${kind} with the built-in runner.`, input, ranAt: clock.now().toISOString() };
  const body = JSON.stringify({ workflowId: id, userId, kind, input });
  // Signed as Standard Webhooks 1.0.0, so that the host app verifies with any library; signatures use wall time.
  const signedAt = new Date();
  const response = await fetch(runner.url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(signedAt.getTime() / 1000)),
      'webhook-signature': new Webhook(runner.secret).sign(id, signedAt, body),
    },
    body,
    redirect: 'error',
    signal: AbortSignal.timeout(RUNNER_TIMEOUT_MS),
  });
  const text = await response.text();
  if (response.status >= 400 && response.status < 500) {
    throw new WorkflowRefused(`The workflow runner refused with ${response.status}.`);
  }
  if (!response.ok) throw new Error(`The workflow runner answered ${response.status}.`);
  // PostgreSQL takes no NUL in a text, and no half of a surrogate pair.
  const kept = [...text.replaceAll('\u0000', '')].slice(0, RUNNER_ANSWER_CHARACTERS).join('');
  return { status: response.status, body: kept };
}
