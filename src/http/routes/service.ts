/** What the operator's probes ask, and the contract itself. */
import { z } from 'zod';
import { TollgateError } from '../../errors.ts';
import { metricsOf } from '../metrics.ts';
import { type Readiness, readiness } from '../readiness.ts';
import { type Route, route } from '../route.ts';
import { answers } from '../schemas/answers.ts';

const TAG = 'Service';
const auth = { kind: 'none' } as const;

const checkText = z.string().meta({ description: '`ok`, or what is wrong.' });
const ready = z
  .strictObject({
    status: z.literal('ready'),
    checks: z.strictObject({ database: checkText, migrations: checkText, queue: checkText }),
  })
  .meta({ id: 'Readiness' });

function notReady(detail: string, checks?: Readiness['checks']): TollgateError {
  return new TollgateError('unavailable', detail, {
    retryAfterSeconds: 1,
    members: checks ? { checks } : {},
  });
}

/** `database does not answer, queue does not answer` */
function wrongs(checks: Readiness['checks']): string {
  const wrong = Object.entries(checks).filter(([, check]) => check !== 'ok');
  return wrong.map(([name, check]) => `${name} ${check}`).join(', ');
}

export const operationalRoutes: Route[] = [
  route({
    method: 'get',
    path: '/healthz',
    summary: 'Whether the process is alive',
    tag: TAG,
    auth,
    idempotency: 'none',
    isOperational: true,
    responses: { 200: answers('It is.', z.strictObject({ status: z.literal('ok') })) },
    handler: () => ({ status: 200, body: { status: 'ok' } }),
  }),
  route({
    method: 'get',
    path: '/readyz',
    summary: 'Whether it can work: database, migrations, queue',
    tag: TAG,
    auth,
    idempotency: 'none',
    isOperational: true,
    responses: { 200: answers('It can.', ready) },
    async handler(context, { lifecycle }) {
      if (lifecycle.isStopping) throw notReady('This process is stopping.');
      const { isReady, checks } = await readiness(context);
      if (!isReady) throw notReady(wrongs(checks), checks);
      return { status: 200, body: { status: 'ready', checks } };
    },
  }),
  route({
    method: 'get',
    path: '/metrics',
    summary: 'Numbers of this process for Prometheus',
    tag: TAG,
    auth,
    idempotency: 'none',
    isOperational: true,
    responses: {
      200: { description: 'In the text format.', schema: z.string(), contentType: 'text/plain' },
    },
    handler: async (context) => ({ status: 200, text: await metricsOf(context).text() }),
  }),
];
