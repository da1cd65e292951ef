/** The numbers to watch: consumption, free and paid users, usage by feature and plan, conversion, the daily trend. */
import type { Context } from '../context.ts';
import { creditsOf } from '../domain/plans.ts';
import { invalidField } from '../errors.ts';
import type { Queryable } from '../store/database.ts';
import { inReport } from '../store/transaction.ts';
import {
  countConsumers,
  countConversions,
  countUsersByPlan,
  type MetricsPeriod,
  sumUsage,
  type UsageSum,
} from '../store/usage-metrics.ts';

/** It may take longer than a request on one user. */
const STATEMENT_MS_MAX = 60_000;

const DAY_MS = 86_400_000;
const DEFAULT_DAYS = 30;
const MAX_DAYS = 366;

export interface MetricsRequest {
  from?: Date | undefined;
  to?: Date | undefined;
}

/** @throws TollgateError `invalid_request` for a period that is empty, to come, or longer than 366 days */
export async function readUsageMetrics(
  { pool, clock }: Context,
  request: MetricsRequest,
): Promise<Record<string, unknown>> {
  const period = periodOf(request, clock.now());
  const work = async (tx: Queryable) => {
    const sums = await sumUsage(tx, period);
    return {
      from: period.from.toISOString(),
      to: period.to.toISOString(),
      consumption: consumptionOf(sums, period, await countConsumers(tx, period)),
      users: usersOf(await countUsersByPlan(tx, period)),
      usage: usageOf(sums),
      conversion: conversionOf(await countConversions(tx, period)),
      trend: trendOf(sums, period),
    };
  };
  return inReport(pool, work, { statementTimeoutMs: STATEMENT_MS_MAX });
}

/** What is to come has no numbers: the period ends now at the latest. */
function periodOf({ from: start, to: end }: MetricsRequest, now: Date): MetricsPeriod {
  const to = end !== undefined && end < now ? end : now;
  const from = start ?? new Date(to.getTime() - DEFAULT_DAYS * DAY_MS);
  if (from >= to) throw invalidField('query.from', 'must be before query.to, and not in the future');
  if (to.getTime() - from.getTime() > MAX_DAYS * DAY_MS) {
    throw invalidField('query.from', `must not be more than ${MAX_DAYS} days before query.to`);
  }
  return { from, to };
}

interface Used {
  consumptions: number;
  consumedTokens: number;
  refundedTokens: number;
}

/** Used tokens are those that left balances and the overage of metered plans. */
function usedIn(sums: readonly UsageSum[]): Used {
  const used = { consumptions: 0, consumedTokens: 0, refundedTokens: 0 };
  for (const { type, entries, tokens, overageTokens } of sums) {
    if (type === 'consumed') {
      used.consumptions += entries;
      used.consumedTokens += overageTokens - tokens;
    } else if (type === 'refunded') used.refundedTokens += tokens + overageTokens;
  }
  return used;
}

function consumptionOf(sums: readonly UsageSum[], { from, to }: MetricsPeriod, users: number) {
  const used = usedIn(sums);
  const netTokens = used.consumedTokens - used.refundedTokens;
  const days = (to.getTime() - from.getTime()) / DAY_MS;
  return {
    ...used,
    netTokens,
    netCredits: creditsOf(netTokens),
    users,
    tokensPerDay: Math.round(netTokens / days),
  };
}

function usersOf(counts: readonly { plan: string; isSubscribed: boolean; users: number }[]) {
  const sumOf = (isPaid: boolean): number =>
    counts.filter(({ isSubscribed }) => isSubscribed === isPaid).reduce((sum, { users }) => sum + users, 0);
  const [free, paid] = [sumOf(false), sumOf(true)];
  const byPlan = counts.map(({ plan, users }) => ({ plan, users }));
  return { total: free + paid, free, paid, paidShare: shareOf(paid, free + paid), byPlan };
}

function usageOf(sums: readonly UsageSum[]) {
  const used = sums.filter(({ type }) => type === 'consumed' || type === 'refunded');
  const groups = new Map<string, UsageSum[]>();
  for (const sum of used) {
    const name = JSON.stringify([sum.feature, sum.plan]);
    groups.set(name, [...(groups.get(name) ?? []), sum]);
  }
  return [...groups.values()]
    .map((group) => ({ feature: group[0]?.feature ?? null, plan: group[0]?.plan ?? '', ...usedIn(group) }))
    .sort((a, b) => b.consumedTokens - a.consumedTokens);
}

function conversionOf({
  signups,
  convertedSignups,
  conversions,
}: {
  signups: number;
  convertedSignups: number;
  conversions: number;
}) {
  return { signups, convertedSignups, rate: shareOf(convertedSignups, signups), conversions };
}

/** Every day of the period, those without an entry included. */
function trendOf(sums: readonly UsageSum[], { from, to }: MetricsPeriod) {
  const days: string[] = [];
  const midnight = Math.floor(from.getTime() / DAY_MS) * DAY_MS;
  for (let day = midnight; day < to.getTime(); day += DAY_MS) {
    days.push(new Date(day).toISOString().slice(0, 10));
  }
  return days.map((day) => {
    const ofDay = sums.filter((sum) => sum.day === day);
    const changeBy = (type: UsageSum['type']): number =>
      ofDay.filter((sum) => sum.type === type).reduce((total, { tokens }) => total + tokens, 0);
    return {
      day,
      ...usedIn(ofDay),
      grantedTokens: changeBy('granted'),
      expiredTokens: 0 - changeBy('expired'),
      voidedTokens: 0 - changeBy('voided'),
    };
  });
}

/** From 0 to 1, to four places; null of nobody. */
function shareOf(part: number, whole: number): number | null {
  return whole === 0 ? null : Math.round((part / whole) * 10_000) / 10_000;
}
