import { paymentPageRoutes } from '../cli/payment-pages.ts';
import { cliSessionRoutes } from '../cli/sessions.ts';
import { customerBalanceRoutes } from '../resources/balance-transactions.ts';
import { chargeRoutes } from '../resources/charges.ts';
import { checkoutSessionRoutes } from '../resources/checkout-sessions.ts';
import { couponRoutes } from '../resources/coupons.ts';
import { creditNoteRoutes } from '../resources/credit-notes.ts';
import { customerRoutes } from '../resources/customers.ts';
import { disputeRoutes } from '../resources/disputes.ts';
import { entitlementRoutes } from '../resources/entitlements.ts';
import { eventRoutes } from '../resources/events.ts';
import { invoiceItemRoutes } from '../resources/invoice-items.ts';
import { invoicePaymentRoutes } from '../resources/invoice-payments.ts';
import { invoiceRoutes } from '../resources/invoices.ts';
import { paymentIntentRoutes } from '../resources/payment-intents.ts';
import { paymentMethodRoutes } from '../resources/payment-methods.ts';
import { portalRoutes } from '../resources/portal.ts';
import { priceRoutes } from '../resources/prices.ts';
import { productRoutes } from '../resources/products.ts';
import { promotionCodeRoutes } from '../resources/promotion-codes.ts';
import { refundRoutes } from '../resources/refunds.ts';
import { setupIntentRoutes } from '../resources/setup-intents.ts';
import { subscriptionItemRoutes } from '../resources/subscription-items.ts';
import { subscriptionScheduleRoutes } from '../resources/subscription-schedules.ts';
import { subscriptionRoutes } from '../resources/subscriptions.ts';
import { testClockRoutes } from '../resources/test-clocks.ts';
import { webhookEndpointRoutes } from '../resources/webhook-endpoints.ts';
import type { Route } from './route.ts';

const ROUTES: readonly Route[] = [
  ...customerRoutes,
  ...customerBalanceRoutes,
  ...paymentMethodRoutes,
  ...productRoutes,
  ...priceRoutes,
  ...couponRoutes,
  ...checkoutSessionRoutes,
  ...portalRoutes,
  ...subscriptionRoutes,
  ...subscriptionItemRoutes,
  ...invoiceRoutes,
  ...invoiceItemRoutes,
  ...invoicePaymentRoutes,
  ...paymentIntentRoutes,
  ...chargeRoutes,
  ...refundRoutes,
  ...disputeRoutes,
  ...eventRoutes,
  ...webhookEndpointRoutes,
  ...testClockRoutes,
  ...creditNoteRoutes,
  ...entitlementRoutes,
  ...promotionCodeRoutes,
  ...setupIntentRoutes,
  ...subscriptionScheduleRoutes,
  ...cliSessionRoutes,
  ...paymentPageRoutes,
];

export function findRoute(method: string, path: string): { route: Route; ids: string[] } | undefined {
  for (const route of ROUTES) {
    if (route.method !== method) continue;
    const match = route.pattern.exec(path);
    if (match !== null) return { route, ids: match.slice(1).map(unescaped) };
  }
  return undefined;
}

/** An id that is no valid escape names nothing; it must not be a fault of the server. */
function unescaped(id: string): string {
  try {
    return decodeURIComponent(id);
  } catch (error) {
    if (error instanceof URIError) return id;
    throw error;
  }
}
