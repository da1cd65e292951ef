import { z } from 'zod';
import { endSubscription } from '../engine/subscription-end.ts';
import { missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  address,
  inRange,
  mergeMetadata,
  metadata,
  noParams,
  pageParams,
  text,
  timeRange,
  unset,
} from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { Customer } from '../wire.ts';
import type { World } from '../world.ts';
import { createCustomer, findCustomer } from './customer-object.ts';
import {
  attachPaymentMethod,
  cardByName,
  createPaymentMethod,
  findPaymentMethod,
} from './payment-methods.ts';

const clearable = z.union([unset, text]).optional();

const fields = {
  address: z.union([unset, address]).optional(),
  description: clearable,
  email: clearable,
  invoice_settings: z
    .strictObject({
      custom_fields: z.union([unset, z.array(z.strictObject({ name: text, value: text }))]).optional(),
      default_payment_method: clearable,
      footer: clearable,
    })
    .optional(),
  metadata: metadata.optional(),
  name: clearable,
  phone: clearable,
  preferred_locales: z.array(text).optional(),
  shipping: z.union([unset, z.strictObject({ address, name: text, phone: text.optional() })]).optional(),
  tax_exempt: z.enum(['none', 'exempt', 'reverse']).optional(),
};
const createParams = z.strictObject({
  ...fields,
  payment_method: text.optional(),
  source: text.optional(),
  test_clock: text.optional(),
});
const updateParams = z.strictObject(fields);
const listParams = z.strictObject({
  ...pageParams,
  created: timeRange.optional(),
  email: text.optional(),
  test_clock: text.optional(),
});
type Changes = z.output<typeof updateParams>;

function fullAddress(given: z.output<typeof address>): NonNullable<Customer['address']> {
  const { city = null, country = null, line1 = null, line2 = null, postal_code = null, state = null } = given;
  return { city, country, line1, line2, postal_code, state };
}

function changed(world: World, customer: Customer, params: Changes): Partial<Customer> {
  const {
    description,
    email,
    name,
    phone,
    preferred_locales,
    tax_exempt,
    invoice_settings: settings,
  } = params;
  const changes: Partial<Customer> = { metadata: mergeMetadata(customer.metadata, params.metadata) };
  if (description !== undefined) changes.description = description;
  if (email !== undefined) changes.email = email;
  if (name !== undefined) changes.name = name;
  if (phone !== undefined) changes.phone = phone;
  if (preferred_locales !== undefined) changes.preferred_locales = preferred_locales;
  if (tax_exempt !== undefined) changes.tax_exempt = tax_exempt;
  if (params.address !== undefined) changes.address = params.address && fullAddress(params.address);
  if (params.shipping !== undefined)
    changes.shipping = params.shipping && {
      address: fullAddress(params.shipping.address),
      name: params.shipping.name,
      phone: params.shipping.phone ?? null,
    };
  if (settings !== undefined) {
    const next = { ...customer.invoice_settings };
    if (settings.footer !== undefined) next.footer = settings.footer;
    if (settings.custom_fields !== undefined) next.custom_fields = settings.custom_fields;
    if (settings.default_payment_method !== undefined)
      next.default_payment_method = defaultMethod(world, customer, settings.default_payment_method);
    changes.invoice_settings = next;
  }
  return changes;
}

function defaultMethod(world: World, customer: Customer, id: string | null): string | null {
  if (id === null) return null;
  const param = 'invoice_settings[default_payment_method]';
  const method = findPaymentMethod(world, id, param, customer.id);
  // Stripe words it the same whether the method belongs to nobody or to somebody else.
  if (method.customer !== customer.id) throw missing('payment_method', id, param);
  return method.id;
}

/** The older way to give a customer a card; here it becomes the default payment method. */
function useToken(world: World, customer: Customer, token: string): void {
  const method = createPaymentMethod(world, cardByName(token));
  customer.invoice_settings = {
    ...customer.invoice_settings,
    default_payment_method: attachPaymentMethod(world, method.id, customer.id).id,
  };
}

/** Deleting a customer cancels its subscriptions, an event each (stripe.md A3). */
export function deleteCustomer(world: World, customer: Customer): object {
  for (const subscription of world.state.subscriptions.values())
    if (subscription.customer === customer.id && subscription.ended_at === null)
      endSubscription(world, subscription, null);
  world.state.customers.delete(customer.id);
  world.state.deletedCustomers.add(customer.id);
  world.emit('customer.deleted', customer);
  return { id: customer.id, object: 'customer', deleted: true };
}

/** Found by the control API through the resource. */
export { findCustomer };

export const customerRoutes: Route[] = [
  route('POST', '/customers', createParams, ({ world, params }) => {
    const { payment_method: method, source, test_clock: clock, ...rest } = params;
    if (clock !== undefined && !world.state.testClocks.has(clock))
      throw missing('test clock', clock, 'test_clock');
    const customer = createCustomer(world, { email: params.email ?? null, name: params.name ?? null });
    const attached = method === undefined ? null : attachPaymentMethod(world, method, customer.id);
    if (source !== undefined) useToken(world, customer, source);
    // The CLI names the same pm_card_… twice: to attach it, and as the default.
    const settings = rest.invoice_settings;
    if (attached !== null && settings?.default_payment_method === method)
      rest.invoice_settings = { ...settings, default_payment_method: attached.id };
    Object.assign(customer, changed(world, customer, rest));
    world.emit('customer.created', customer);
    return customer;
  }),
  route('GET', '/customers', listParams, ({ world, params, path }) =>
    page(
      world.state.customers.values(),
      params,
      path,
      (customer) =>
        inRange(customer.created, params.created) &&
        (params.email === undefined || customer.email === params.email) &&
        (customer.test_clock ?? undefined) === params.test_clock,
    ),
  ),
  route('GET', '/customers/:id', noParams, ({ world, id }) =>
    world.state.deletedCustomers.has(id)
      ? { id, object: 'customer', deleted: true }
      : findCustomer(world, id),
  ),
  route('POST', '/customers/:id', updateParams, ({ world, params, id }) => {
    const customer = findCustomer(world, id);
    world.update('customer.updated', customer, changed(world, customer, params));
    return customer;
  }),
  route('DELETE', '/customers/:id', noParams, ({ world, id }) =>
    deleteCustomer(world, findCustomer(world, id)),
  ),
  route(
    'GET',
    '/customers/:id/payment_methods',
    z.strictObject({ ...pageParams, type: text.optional(), allow_redisplay: text.optional() }),
    ({ world, params, id, path }) =>
      page(
        world.state.paymentMethods.values(),
        params,
        path,
        (method) => method.customer === findCustomer(world, id).id,
      ),
  ),
];
