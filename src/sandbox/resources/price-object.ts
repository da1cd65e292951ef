import { invalid, missing } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Plan, Price } from '../wire.ts';
import type { World } from '../world.ts';
import type { PriceData } from './price-params.ts';

export function findPrice(world: World, id: string, param?: string): Price {
  const price = world.state.prices.get(id);
  if (price === undefined) throw missing('price', id, param);
  return price;
}

export function createPrice(world: World, product: string, data: PriceData): Price {
  const amount = data.unit_amount ?? data.unit_amount_decimal;
  if (amount === undefined || amount < 0)
    throw invalid('Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set.', {
      code: 'parameter_missing',
      param: 'unit_amount',
    });
  const price = {
    id: newId('price'),
    object: 'price',
    active: true,
    billing_scheme: 'per_unit',
    created: world.now(),
    currency: data.currency,
    custom_unit_amount: null,
    livemode: false,
    lookup_key: null,
    metadata: {},
    nickname: null,
    product,
    recurring:
      data.recurring === undefined
        ? null
        : {
            interval: data.recurring.interval,
            interval_count: data.recurring.interval_count ?? 1,
            meter: null,
            trial_period_days: data.recurring.trial_period_days ?? null,
            usage_type: data.recurring.usage_type ?? 'licensed',
          },
    tax_behavior: data.tax_behavior ?? 'unspecified',
    tiers_mode: null,
    transform_quantity: null,
    type: data.recurring === undefined ? 'one_time' : 'recurring',
    unit_amount: Number.isInteger(amount) ? amount : null,
    unit_amount_decimal: String(amount),
  } satisfies Price;
  world.state.prices.set(price.id, price);
  return price;
}

/** The older view of a recurring price, still shown in subscription items. */
export function planOf(price: Price): Plan {
  return {
    id: price.id,
    object: 'plan',
    active: price.active,
    amount: price.unit_amount,
    amount_decimal: price.unit_amount_decimal,
    billing_scheme: price.billing_scheme,
    created: price.created,
    currency: price.currency,
    interval: price.recurring?.interval ?? 'month',
    interval_count: price.recurring?.interval_count ?? 1,
    livemode: false,
    metadata: price.metadata,
    meter: null,
    nickname: price.nickname,
    product: price.product,
    tiers_mode: null,
    transform_usage: null,
    trial_period_days: price.recurring?.trial_period_days ?? null,
    usage_type: 'licensed',
  } satisfies Plan;
}
