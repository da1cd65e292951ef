/** Whose the customers of a page are. */
import { findUsersOfCustomers } from '../store/books.ts';
import { findUser } from '../store/users.ts';
import { fetchCustomer } from '../stripe/customers.ts';
import { USER_METADATA } from '../stripe/shapes.ts';
import type { Check } from './findings.ts';

/**
 * @param customers those that `mayAsk` are looked up in Stripe where we do not know them: their metadata may name a user
 * @returns the users of those that are somebody's
 */
export async function ownersOf(
  { context, reader }: Check,
  customers: readonly { customerId: string; mayAsk: boolean }[],
): Promise<Map<string, string>> {
  const ids = [...new Set(customers.map(({ customerId }) => customerId))];
  const owners = await findUsersOfCustomers(context.pool, ids);
  const asked = new Set<string>();
  for (const { customerId, mayAsk } of customers) {
    if (!mayAsk || owners.has(customerId) || asked.has(customerId)) continue;
    asked.add(customerId);
    await reader.pace();
    const named = (await fetchCustomer(context, customerId))?.metadata[USER_METADATA];
    if (named !== undefined && (await findUser(context.pool, named))) owners.set(customerId, named);
  }
  return owners;
}
