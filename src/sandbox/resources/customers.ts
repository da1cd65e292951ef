import { z } from 'zod';
import { moveBalance } from '../engine/balance.ts';
import { announceEnd, createDiscount } from '../engine/discounts.ts';
import { endSubscription } from '../engine/subscription-end.ts';
import { missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  address,
  cosmetic,
  given,
  inRange,
  integer,
  mergeMetadata,
  metadata,
  noParams,
  notModelled,
  pageParams,
  positive,
  text,
  timeRange,
  unset,
} from '../http/params.ts';
import { type Route, refuseRemoved, route } from '../http/route.ts';
import type { Customer } from '../wire.ts';
import type { World } from '../world.ts';
import { createCustomer, findCustomer } from './customer-object.ts';
import {
  attachPaymentMethod,
  cardByName,
  createPaymentMethod,
  findPaymentMethod,
} from './payment-methods.ts';
import { redemptionsOf } from './subscription-params.ts';

const clearable = z.union([unset, text]).optional();

const fields = {
  address: z.union([unset, address]).optional(),
  balance: integer.optional(),
  business_name: clearable,
  cash_balance: notModelled,
  // Removed in basil; the official CLI still gives a customer its discount this way (stripe.md E1).
  coupon: clearable,
  description: clearable,
  email: clearable,
  individual_name: clearable,
  invoice_prefix: z
    .string()
    .regex(/^[A-Z0-9]{3,12}$/, 'Invoice prefixes are 3 to 12 uppercase letters or numbers')
    .optional(),
  invoice_settings: z
    .strictObject({
      custom_fields: z.union([unset, z.array(z.strictObject({ name: text, value: text }))]).optional(),
      default_payment_method: clearable,
      footer: clearable,
      rendering_options: notModelled,
    })
    .optional(),
  metadata: metadata.optional(),
  name: clearable,
  next_invoice_sequence: positive.optional(),
  phone: clearable,
  preferred_locales: z.array(text).optional(),
  promotion_code: text.optional(),
  shipping: z.union([unset, z.strictObject({ address, name: text, phone: text.optional() })]).optional(),
  source: text.optional(),
  tax: cosmetic,
  tax_exempt: z.union([z.enum(['none', 'exempt', 'reverse']), unset]).optional(),
  validate: cosmetic,
};
const createParams = z.strictObject({
  ...fields,
  payment_method: text.optional(),
  tax_id_data: notModelled,
  test_clock: text.optional(),
});
const updateParams = z.strictObject({ ...fields, default_source: notModelled });
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
  if (tax_exempt !== undefined) changes.tax_exempt = tax_exempt ?? 'none';
  Object.assign(
    changes,
    given({ invoice_prefix: params.invoice_prefix, next_invoice_sequence: params.next_invoice_sequence }),
  );
  // Names that are shown only once they were given.
  if (params.business_name != null) changes.business_name = params.business_name;
  if (params.individual_name != null) changes.individual_name = params.individual_name;
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

/** What a customer has to spare or owes is written down, movement by movement. */
function setBalance(world: World, customer: Customer, balance: number | undefined): void {
  if (balance !== undefined)
    moveBalance(world, customer, { amount: balance - customer.balance, type: 'adjustment' });
}

/** A customer's discount applies to all its subscriptions that have none of their own. */
function setDiscount(world: World, customer: Customer, params: Changes): void {
  const { coupon, promotion_code: code } = params;
  if (coupon === undefined && code === undefined) return;
  dropDiscount(world, customer);
  const [redemption] = redemptionsOf(
    world,
    coupon == null && code === undefined ? [] : [coupon == null ? { promotion_code: code } : { coupon }],
    customer.id,
  );
  if (redemption === undefined) return;
  const discount = createDiscount(world, redemption.coupon, {
    customer: customer.id,
    subscription: null,
    promotionCode: redemption.promotionCode,
  });
  customer.discount = structuredClone(discount);
  world.emit('customer.discount.created', discount);
}

function dropDiscount(world: World, customer: Customer): string | null {
  const id = customer.discount?.id ?? null;
  if (id === null) return null;
  customer.discount = null;
  announceEnd(world, id);
  return id;
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

function create(world: World, params: z.output<typeof createParams>): Customer {
  const { payment_method: method, source, test_clock: clock, tax_id_data: _, ...rest } = params;
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
  customer.balance = params.balance ?? 0;
  world.emit('customer.created', customer);
  setDiscount(world, customer, rest);
  return customer;
}

/** Found by the control API through the resource. */
export { findCustomer };

export const customerRoutes: Route[] = [
  route('POST', '/customers', createParams, ({ world, params, version }) => {
    refuseRemoved(params, version, 'coupon');
    refuseRemoved(params, version, 'promotion_code');
    return create(world, params);
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
  route('POST', '/customers/:id', updateParams, ({ world, params, id, version }) => {
    refuseRemoved(params, version, 'coupon');
    refuseRemoved(params, version, 'promotion_code');
    const customer = findCustomer(world, id);
    if (params.source !== undefined) useToken(world, customer, params.source);
    setDiscount(world, customer, params);
    setBalance(world, customer, params.balance);
    world.update('customer.updated', customer, changed(world, customer, params));
    return customer;
  }),
  route('DELETE', '/customers/:id/discount', noParams, ({ world, id }) => {
    const dropped = dropDiscount(world, findCustomer(world, id));
    if (dropped === null) throw missing('active discount for customer', id);
    return { id: dropped, object: 'discount', deleted: true };
  }),
  route('GET', '/customers/:id/payment_methods/:method', noParams, ({ world, id, subId }) => {
    const method = world.state.paymentMethods.get(subId);
    if (method === undefined || method.customer !== findCustomer(world, id).id)
      throw missing('PaymentMethod', subId);
    return method;
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
