/** What is on sale in the simulated worlds: two plans beside the free one, monthly and annual, and a pack. */
import { type Catalogue, DEFAULT_CATALOGUE, type PlanDefinition } from '../src/domain/plans.ts';

const team: PlanDefinition = {
  creditsPerPeriod: 300,
  reset: 'invoice',
  rollover: 'none',
  overage: 'block',
  prices: { monthly: 'team_monthly', annual: 'team_annual' },
  graceDays: 7,
};

export const CATALOGUE: Catalogue = {
  ...DEFAULT_CATALOGUE,
  plans: { ...DEFAULT_CATALOGUE.plans, team },
};

export type Plan = 'pro' | 'team';
export type Interval = 'month' | 'year';
/** What is agreed in a subscription. */
export interface Terms {
  plan: Plan;
  interval: Interval;
  quantity: number;
}

const PRICES_MINOR: Record<Plan, Record<Interval, number>> = {
  pro: { month: 2_000, year: 20_000 },
  team: { month: 5_000, year: 50_000 },
};
export const PACK = { offer: 'pack_50', priceMinor: 1_000 };

export function priceMinor({ plan, interval, quantity }: Terms): number {
  return PRICES_MINOR[plan][interval] * quantity;
}
