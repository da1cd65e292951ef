// A catalogue with two plans on sale, for changes between them.
import { type Catalogue, DEFAULT_CATALOGUE, planDefinition } from '../../src/domain/plans.ts';

const pro = planDefinition(DEFAULT_CATALOGUE, 'pro');

/** team: 300 credits, USD 60 a month, USD 600 a year. */
export const TEAM_CATALOGUE: Catalogue = {
  ...DEFAULT_CATALOGUE,
  plans: {
    ...DEFAULT_CATALOGUE.plans,
    team: { ...pro, creditsPerPeriod: 300, prices: { monthly: 'team_monthly', annual: 'team_annual' } },
  },
};
