/** The route table. What is called most stands first: Express looks from the top. */
import type { Route } from '../route.ts';
import { apiKeyRoutes } from './api-keys.ts';
import { billingRoutes } from './billing.ts';
import { creditRoutes } from './credits.ts';
import { financeRoutes } from './finance.ts';
import { grantRoutes } from './grants.ts';
import { holdRoutes } from './holds.ts';
import { seedRoutes } from './seed.ts';
import { operationalRoutes } from './service.ts';
import { stripeEventRoutes, webhookRoutes } from './stripe-events.ts';
import { usageMetricsRoutes } from './usage-metrics.ts';
import { userRoutes } from './users.ts';

export const routes: readonly Route[] = [
  ...creditRoutes,
  ...holdRoutes,
  ...seedRoutes,
  ...userRoutes,
  ...grantRoutes,
  ...billingRoutes,
  ...webhookRoutes,
  ...stripeEventRoutes,
  ...financeRoutes,
  ...apiKeyRoutes,
  ...usageMetricsRoutes,
  ...operationalRoutes,
];
