/** Stripe's customer portal with a configuration of our own (https://docs.stripe.com/customer-management). */
import type { Context } from '../context.ts';
import type { Answer, ChangeRequest } from '../lib/requests.ts';
import { userNow } from '../lib/users.ts';
import { ensureCustomer } from './customers.ts';
import { onceOutside } from './outside.ts';

const MARK = 'tollgate_portal';
const VERSION = '1';

export interface PortalInput {
  userId: string;
  returnUrl?: string | undefined;
}

/** @returns 201 `{url}` */
export async function createPortalSession(
  context: Context,
  { userId, returnUrl }: PortalInput,
  request: ChangeRequest,
): Promise<Answer> {
  await userNow(context, userId);
  return onceOutside(context, userId, request, async () => {
    const customer = await ensureCustomer(context, userId);
    const session = await context.stripe.billingPortal.sessions.create({
      customer,
      configuration: await configurationId(context),
      return_url: returnUrl ?? `${context.config.publicUrl}/docs/`,
    });
    return { status: 201, body: { url: session.url } };
  });
}

/**
 * Made once and found by its mark. Plan changes are off: the Dashboard's default would let a person upgrade without
 * paying until the next renewal.
 */
async function configurationId({ stripe }: Context): Promise<string> {
  for await (const one of stripe.billingPortal.configurations.list({ active: true, limit: 100 })) {
    if (one.metadata?.[MARK] === VERSION) return one.id;
  }
  const made = await stripe.billingPortal.configurations.create(
    {
      features: {
        customer_update: { enabled: true, allowed_updates: ['email', 'address', 'tax_id'] },
        invoice_history: { enabled: true },
        payment_method_update: { enabled: true },
        subscription_cancel: { enabled: true, mode: 'at_period_end' },
        subscription_update: { enabled: false },
      },
      metadata: { [MARK]: VERSION },
    },
    { idempotencyKey: `tollgate:portal:${VERSION}` },
  );
  return made.id;
}
