import { newId } from '../ids.ts';
import type { Customer, CustomerBalanceTransaction } from '../wire.ts';
import type { World } from '../world.ts';

/** Moves a customer's balance: negative is what the customer has to spare, positive what it owes. */
export function moveBalance(
  world: World,
  customer: Customer,
  entry: {
    amount: number;
    type: CustomerBalanceTransaction['type'];
    currency?: string;
    invoice?: string | null;
    creditNote?: string | null;
    description?: string | null;
    metadata?: Record<string, string>;
  },
): CustomerBalanceTransaction | null {
  if (entry.amount === 0) return null;
  const balance = customer.balance + entry.amount;
  const transaction = {
    id: newId('cbtxn'),
    object: 'customer_balance_transaction',
    amount: entry.amount,
    checkout_session: null,
    created: world.now(),
    credit_note: entry.creditNote ?? null,
    currency: entry.currency ?? customer.currency ?? 'usd',
    customer: customer.id,
    customer_account: null,
    description: entry.description ?? null,
    ending_balance: balance,
    invoice: entry.invoice ?? null,
    livemode: false,
    metadata: entry.metadata ?? {},
    type: entry.type,
  } satisfies CustomerBalanceTransaction;
  world.state.customerBalanceTransactions.set(transaction.id, transaction);
  world.update('customer.updated', customer, { balance, currency: transaction.currency });
  return transaction;
}
