// What somebody might write into the database.

import { accountOptions } from '../../src/lib/requests.ts';
import { withAccount } from '../../src/store/account.ts';
import type { Service } from '../stripe/harness.ts';

/** A bought grant, entry and all, of an invoice that Stripe does not have. */
export function grantTokensByHand({ context }: Service, userId: string, invoiceId: string, tokens: number) {
  return withAccount(accountOptions(context), userId, (account) => {
    const windowStart = context.clock.now();
    account.grant({
      key: `inv:${invoiceId}:il_1`,
      source: 'allowance',
      tokens,
      expiresAt: null,
      details: {
        offer: 'pro',
        invoiceId,
        invoiceLineId: 'il_1',
        costBasisMinor: 400,
        currency: 'usd',
        windowStart,
        windowEnd: new Date(windowStart.getTime() + 86_400_000),
      },
    });
  });
}
