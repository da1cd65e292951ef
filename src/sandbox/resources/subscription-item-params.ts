import { z } from 'zod';
import { buildInvoiceItem } from '../engine/invoice-items.ts';
import { redeemAll } from '../engine/subscription-create.ts';
import type { ItemChange } from '../engine/subscription-next.ts';
import { invalid } from '../errors.ts';
import { flag, mergeMetadata, metadata, notModelled, quantity, text } from '../http/params.ts';
import type { InvoiceItem, Price, Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { createPrice, findPrice } from './price-object.ts';
import { type addInvoiceItems, discountParams, priceData, redemptionsOf } from './subscription-params.ts';

export const itemFields = {
  billing_thresholds: notModelled,
  current_trial: notModelled,
  discounts: discountParams.optional(),
  metadata: metadata.optional(),
  plan: text.optional(),
  price: text.optional(),
  price_data: priceData.optional(),
  quantity: quantity.optional(),
  tax_rates: notModelled,
};

export const itemUpdate = z.strictObject({
  ...itemFields,
  id: text.optional(),
  clear_usage: flag.optional(),
  deleted: flag.optional(),
});

type Priced = {
  price?: string | undefined;
  plan?: string | undefined;
  price_data?: z.output<typeof priceData> | undefined;
};

/** `items[0]` and `price` → `items[0][price]`; without an item around it just `price`. */
const inside = (param: string, name: string): string => (param === '' ? name : `${param}[${name}]`);

/** The price an item names, or one made for it. */
export function pricedBy(world: World, item: Priced, param: string): Price | undefined {
  if (item.price_data !== undefined) return createPrice(world, item.price_data.product, item.price_data);
  const id = item.price ?? item.plan;
  return id === undefined
    ? undefined
    : findPrice(world, id, inside(param, item.price === undefined ? 'plan' : 'price'));
}

export function itemChanges(
  world: World,
  items: readonly z.output<typeof itemUpdate>[],
  param: (index: number) => string = (index) => `items[${index}]`,
): ItemChange[] {
  return items.map((item, index) => ({
    id: item.id,
    price: pricedBy(world, item, param(index)),
    quantity: item.quantity,
    metadata: item.metadata === undefined ? undefined : mergeMetadata(null, item.metadata),
    discounts:
      item.discounts === undefined
        ? undefined
        : redeemAll(world, redemptionsOf(world, item.discounts, null), {
            customer: null,
            subscription: null,
          }),
    deleted: item.deleted ?? false,
  }));
}

/** One-time amounts that come with a subscription's creation or change. */
export function extraItems(
  world: World,
  subscription: Pick<Subscription, 'customer'>,
  items: z.output<typeof addInvoiceItems>,
): InvoiceItem[] {
  return items.map((item, index) => {
    const param = `add_invoice_items[${index}]`;
    const price = pricedBy(world, item, param);
    if (price === undefined)
      throw invalid(`Missing required param: ${param}[price].`, {
        code: 'parameter_missing',
        param: `${param}[price]`,
      });
    if (price.recurring !== null)
      throw invalid(
        'The price specified is set to `type=recurring` but this field only accepts prices with `type=one_time`.',
        { param: `${param}[price]` },
      );
    return oneTimeItem(world, subscription.customer, price, {
      quantity: item.quantity ?? 1,
      metadata: mergeMetadata(null, item.metadata),
      discountable: item.discountable ?? true,
      subscription: 'id' in subscription ? String(subscription.id) : null,
    });
  });
}

function oneTimeItem(
  world: World,
  customer: string,
  price: Price,
  extra: {
    quantity: number;
    metadata: Record<string, string>;
    discountable: boolean;
    subscription: string | null;
  },
): InvoiceItem {
  const now = world.now();
  return buildInvoiceItem(world, {
    customer,
    currency: price.currency,
    amount: Math.round(Number(price.unit_amount_decimal ?? 0) * extra.quantity),
    description: world.state.products.get(price.product)?.name ?? null,
    discountable: extra.discountable,
    discounts: [],
    metadata: extra.metadata,
    period: { start: now, end: now },
    price: price.id,
    product: price.product,
    unitAmount: price.unit_amount_decimal,
    quantity: extra.quantity,
    parent:
      extra.subscription === null
        ? null
        : { subscription_details: { subscription: extra.subscription }, type: 'subscription_details' },
    invoice: null,
    proration: false,
  });
}
