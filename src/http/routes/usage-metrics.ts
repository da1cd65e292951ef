/** The numbers to watch, for whoever runs the app. */
import { z } from 'zod';
import { readUsageMetrics } from '../../lib/usage-metrics.ts';
import { type Route, route } from '../route.ts';
import { answers, credits, maybe, time, tokens } from '../schemas/answers.ts';
import { timestamp } from '../schemas/inputs.ts';

const count = z.int();
const share = maybe(z.number()).meta({ description: 'From 0 to 1; null of nobody.' });
const used = { consumptions: count, consumedTokens: tokens, refundedTokens: tokens };

const metrics = z
  .strictObject({
    from: time,
    to: time,
    consumption: z
      .strictObject({ ...used, netTokens: tokens, netCredits: credits, users: count, tokensPerDay: tokens })
      .meta({ description: 'The rate is `tokensPerDay`: what was used less what was given back.' }),
    users: z
      .strictObject({
        total: count,
        free: count,
        paid: count,
        paidShare: share,
        byPlan: z.array(z.strictObject({ plan: z.string(), users: count })),
      })
      .meta({ description: 'Users who had signed up by `to`, by the plan they have now.' }),
    usage: z
      .array(z.strictObject({ feature: maybe(z.string()), plan: z.string(), ...used }))
      .meta({ description: 'By feature and by the plan at that time, the most used first.' }),
    conversion: z
      .strictObject({ signups: count, convertedSignups: count, rate: share, conversions: count })
      .meta({
        description: 'Of those who signed up in the period, the share that has had a paid plan by `to`.',
      }),
    trend: z
      .array(
        z.strictObject({
          day: z.iso.date(),
          ...used,
          grantedTokens: tokens,
          expiredTokens: tokens,
          voidedTokens: tokens,
        }),
      )
      .meta({ description: 'Every day, UTC.' }),
  })
  .meta({ id: 'UsageMetrics' });

export const usageMetricsRoutes: Route[] = [
  route({
    method: 'get',
    path: '/v1/admin/metrics',
    summary: 'Consumption, free and paid users, usage by feature and plan, conversion, daily trend',
    description:
      'Of the period from `from` (included) to `to` (excluded), at most 366 days; without them, the last 30 days. It ends now at the latest.',
    tag: 'Metrics',
    auth: { kind: 'apiKey', scopes: ['admin'] },
    idempotency: 'none',
    query: z.strictObject({ from: timestamp.optional(), to: timestamp.optional() }),
    responses: { 200: answers('The numbers.', metrics) },
    async handler(context, { query }) {
      return { status: 200, body: await readUsageMetrics(context, query) };
    },
  }),
];
