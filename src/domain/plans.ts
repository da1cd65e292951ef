/** The catalogue: what each plan and pack gives, and what each feature costs. Replaceable by PLANS_FILE. */

/** The ledger's unit is the token; a credit is this many. */
export const TOKENS_PER_CREDIT = 2000;

export interface PlanDefinition {
  /** Credits that land at the start of each window. */
  creditsPerPeriod: number;
  /** What starts a window: our clock, or a paid Stripe invoice. */
  reset: 'clock' | 'invoice';
  /** What of the old allowance survives when the next one lands. */
  rollover: 'none' | { cappedCredits: number };
  /** At an empty balance: refuse, or record and never block. */
  overage: 'block' | 'meter';
  /** Stripe lookup keys; a plan without prices is not on sale. */
  prices: { monthly?: string; annual?: string };
  /** How long a paid plan is kept past the end of what has been paid. */
  graceDays: number;
}

export interface PackDefinition {
  credits: number;
  price: string;
}

export interface Catalogue {
  plans: Record<string, PlanDefinition>;
  packs: Record<string, PackDefinition>;
  /** Credits per use. */
  features: Record<string, { credits: number }>;
}

export const FREE_PLAN = 'free';

export const DEFAULT_CATALOGUE: Catalogue = {
  plans: {
    free: {
      creditsPerPeriod: 5,
      reset: 'clock',
      rollover: 'none',
      overage: 'block',
      prices: {},
      graceDays: 0,
    },
    pro: {
      creditsPerPeriod: 100,
      reset: 'invoice',
      rollover: 'none',
      overage: 'block',
      prices: { monthly: 'pro_monthly', annual: 'pro_annual' },
      graceDays: 7,
    },
    enterprise: {
      creditsPerPeriod: 1000,
      reset: 'clock',
      rollover: 'none',
      overage: 'meter',
      prices: {},
      graceDays: 7,
    },
  },
  packs: { pack_50: { credits: 50, price: 'pack_50' } },
  features: { code_generation: { credits: 1 }, code_review: { credits: 1 } },
};

/** Credits as callers see them: whole ones, rounded down. */
export function creditsOf(tokens: number): number {
  return Math.floor(tokens / TOKENS_PER_CREDIT);
}

export function planDefinition(catalogue: Catalogue, plan: string): PlanDefinition {
  const definition = catalogue.plans[plan];
  if (!definition) throw new Error(`The catalogue has no plan "${plan}": add it to PLANS_FILE.`);
  return definition;
}

/** The plan that a Stripe price buys, found by its lookup key; undefined where the price is not ours. */
export function planOfPrice(
  catalogue: Catalogue,
  lookupKey: string | null,
): { plan: string; definition: PlanDefinition } | undefined {
  if (lookupKey === null) return undefined;
  for (const [plan, definition] of Object.entries(catalogue.plans)) {
    const { monthly, annual } = definition.prices;
    if (lookupKey === monthly || lookupKey === annual) return { plan, definition };
  }
  return undefined;
}

export function packOfPrice(
  catalogue: Catalogue,
  lookupKey: string | null,
): { pack: string; definition: PackDefinition } | undefined {
  for (const [pack, definition] of Object.entries(catalogue.packs)) {
    if (definition.price === lookupKey) return { pack, definition };
  }
  return undefined;
}
