/** The seed's own routes: an end user, with a token of the app, for itself alone. */
import { z } from 'zod';
import type { Context } from '../../context.ts';
import { currentUser } from '../../lib/current.ts';
import type { ChangeRequest } from '../../lib/requests.ts';
import { getUsageStatus } from '../../lib/usage.ts';
import { readWorkflow, startWorkflow, type WorkflowKind } from '../../lib/workflows.ts';
import { type Route, type RouteAnswer, route } from '../route.ts';
import * as answer from '../schemas/answers.ts';
import { id } from '../schemas/inputs.ts';

const TAG = 'End users';
const auth = { kind: 'user' } as const;

const projectId = z.string().min(1, 'must not be empty').max(255, 'must have at most 255 characters');
const code = z.string().min(1, 'must not be empty');

const DENIED = answer.answers(
  'Insufficient credits (`error` says so), or too many requests; no work was started.',
  z.union([answer.insufficientCredits.extend({ error: z.literal('Insufficient credits') }), answer.problem]),
);

/** Takes the credit, writes the work down and wakes the worker; `shape` is what the seed answers. */
async function start(
  context: Context,
  work: { kind: WorkflowKind; input: Record<string, unknown>; change: ChangeRequest },
  shape: (workflowId: unknown) => Record<string, unknown>,
): Promise<RouteAnswer> {
  const { kind, input, change } = work;
  const { status, body, replayed } = await startWorkflow(
    context,
    { userId: currentUser(undefined), kind, input },
    change,
  );
  return {
    status,
    replayed,
    body: { success: true, ...shape(body.workflowId), creditInfo: body.creditInfo },
  };
}

export const seedRoutes: Route[] = [
  route({
    method: 'get',
    path: '/api/user/usage',
    summary: 'Credits and usage of the caller',
    tag: TAG,
    auth,
    idempotency: 'none',
    responses: { 200: answer.answers('The present balance.', answer.seedUsage) },
    async handler() {
      // The service sees more of a user than the user does: held tokens and the grants are left out.
      const { heldTokens: _held, balances: _balances, ...data } = await getUsageStatus();
      return { status: 200, body: { success: true, data } };
    },
  }),
  route({
    method: 'post',
    path: '/api/projects/start-workflow',
    summary: 'Start code generation for one credit',
    tag: TAG,
    auth,
    idempotency: 'optional',
    body: z.strictObject({ projectId }),
    responses: { 200: answer.answers('Started.', answer.workflowStarted), 429: DENIED },
    handler: (context, { body, change }) =>
      start(context, { kind: 'code_generation', input: body, change }, (workflowId) => ({
        workflowStarted: true,
        workflowId,
      })),
  }),
  route({
    method: 'post',
    path: '/api/review/generate',
    summary: 'Start a code review for one credit',
    tag: TAG,
    auth,
    idempotency: 'optional',
    body: z
      .strictObject({ projectId: projectId.optional(), code: code.optional() })
      .superRefine((body, issues) => {
        if (body.projectId !== undefined || body.code !== undefined) return;
        for (const path of ['projectId', 'code']) {
          issues.addIssue({ code: 'custom', path: [path], message: 'give projectId or code' });
        }
      }),
    responses: { 200: answer.answers('Started.', answer.reviewStarted), 429: DENIED },
    handler: (context, { body, change }) =>
      start(context, { kind: 'code_review', input: body, change }, (reviewId) => ({
        reviewStarted: true,
        reviewId,
      })),
  }),
  route({
    method: 'get',
    path: '/api/workflows/{id}',
    summary: 'State and result of work that was started',
    tag: TAG,
    auth,
    idempotency: 'none',
    params: z.strictObject({ id }),
    responses: { 200: answer.answers('The work.', answer.workflow) },
    async handler(context, { params }) {
      return { status: 200, body: await readWorkflow(context, currentUser(undefined), params.id) };
    },
  }),
];
