import { missing } from '../errors.ts';
import { newId, randomText } from '../ids.ts';
import type { Customer } from '../wire.ts';
import type { World } from '../world.ts';

export function findCustomer(world: World, id: string, param?: string): Customer {
  const customer = world.state.customers.get(id);
  if (customer === undefined) throw missing('customer', id, param);
  return customer;
}

export function createCustomer(world: World, given: { email: string | null; name: string | null }): Customer {
  const customer = {
    id: newId('cus', 14),
    object: 'customer',
    address: null,
    balance: 0,
    created: world.now(),
    currency: null,
    customer_account: null,
    default_source: null,
    delinquent: false,
    description: null,
    discount: null,
    email: given.email,
    invoice_prefix: randomText(8).toUpperCase(),
    invoice_settings: {
      custom_fields: null,
      default_payment_method: null,
      footer: null,
      rendering_options: null,
    },
    livemode: false,
    metadata: {},
    name: given.name,
    next_invoice_sequence: 1,
    phone: null,
    preferred_locales: [],
    shipping: null,
    tax_exempt: 'none',
    test_clock: world.testClock,
  } satisfies Customer;
  world.state.customers.set(customer.id, customer);
  return customer;
}
