import { invalid } from '../errors.ts';
import { includable } from '../resources/includables.ts';
import type { State } from '../state.ts';
import type { World } from '../world.ts';

type Plain = Record<string, unknown>;

const MAX_DEPTH = 4;

/** Fields whose ids may be of any form (a coupon's or a price's id can be chosen by its creator). */
const FIELDS: Record<string, keyof State> = {
  coupon: 'coupons',
  price: 'prices',
  product: 'products',
  default_price: 'prices',
  plan: 'prices',
  schedule: 'schedules',
  promotion_code: 'promotionCodes',
};

const PREFIXES: Record<string, keyof State> = {
  cus: 'customers',
  pm: 'paymentMethods',
  prod: 'products',
  price: 'prices',
  di: 'discounts',
  cs: 'sessions',
  bpc: 'portalConfigurations',
  sub: 'subscriptions',
  in: 'invoices',
  inpay: 'invoicePayments',
  pi: 'paymentIntents',
  ch: 'charges',
  txn: 'balanceTransactions',
  re: 'refunds',
  dp: 'disputes',
  promo: 'promotionCodes',
  cn: 'creditNotes',
  seti: 'setupIntents',
  feat: 'features',
  cbtxn: 'customerBalanceTransactions',
  ii: 'invoiceItems',
};

function lookUp(world: World, field: string, id: string): unknown {
  const name = FIELDS[field] ?? PREFIXES[id.split('_')[0] ?? ''];
  const objects = name === undefined ? undefined : world.state[name];
  if (!(objects instanceof Map)) return undefined;
  const found: unknown = objects.get(id);
  if (found !== undefined) return structuredClone(found);
  return world.state.deletedCustomers.has(id) ? { id, object: 'customer', deleted: true } : undefined;
}

function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refuse(path: string): never {
  throw invalid(`This property cannot be expanded (${path}).`, { param: 'expand' });
}

function expandValue(
  world: World,
  value: unknown,
  field: string,
  rest: readonly string[],
  path: string,
): unknown {
  if (value === null) return null;
  if (Array.isArray(value)) return value.map((one: unknown) => expandValue(world, one, field, rest, path));
  const object = typeof value === 'string' ? lookUp(world, field, value) : value;
  if (!isPlain(object)) return refuse(path);
  if (rest.length > 0) expandPath(world, object, rest, path);
  return object;
}

function expandPath(world: World, object: Plain, parts: readonly string[], path: string): void {
  const [field, ...rest] = parts;
  if (field === undefined) return;
  const value = object[field] ?? includable(world, object, field);
  if (value === undefined) {
    if (!(field in object)) refuse(path);
    return;
  }
  object[field] = expandValue(world, value, field, rest, path);
}

/** A copy of `object` with the asked-for references replaced by what they name. */
export function expanded(world: World, object: object, paths: readonly string[]): Plain {
  const copy: Plain = structuredClone({ ...object });
  for (const path of paths) {
    const parts = path.split('.');
    const levels = parts.filter((part) => part !== 'data');
    if (levels.length > MAX_DEPTH)
      throw invalid(`You cannot expand more than ${MAX_DEPTH} levels of a property: ${path}`, {
        param: 'expand',
      });
    expandPath(world, copy, parts, path);
  }
  return copy;
}
