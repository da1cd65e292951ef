import { newId } from '../ids.ts';
import type { InvoiceLine, Price, SubscriptionItem } from '../wire.ts';
import type { World } from '../world.ts';

export interface LineContent {
  amount: number;
  description: string;
  discountable: boolean;
  discounts?: string[];
  period: { start: number; end: number };
  unitAmount: string | null;
  price: string;
  product: string;
  quantity: number;
  parent: InvoiceLine['parent'];
  subscription: string | null;
  currency: string;
  metadata: Record<string, string>;
}

export function buildLine(invoice: string, content: LineContent): InvoiceLine {
  return {
    id: newId('il'),
    object: 'line_item',
    amount: content.amount,
    currency: content.currency,
    description: content.description,
    discount_amounts: [],
    discountable: content.discountable,
    discounts: content.discounts ?? [],
    invoice,
    livemode: false,
    metadata: content.metadata,
    parent: content.parent,
    period: content.period,
    pretax_credit_amounts: [],
    pricing: {
      price_details: { price: content.price, product: content.product },
      type: 'price_details',
      unit_amount_decimal: content.unitAmount,
    },
    quantity: content.quantity,
    quantity_decimal: String(content.quantity),
    subscription: content.subscription,
    subtotal: content.amount,
    taxes: [],
  } satisfies InvoiceLine;
}

export function money(amount: number, currency: string): string {
  const value = amount / 100;
  return new Intl.NumberFormat('en-US', { style: 'currency', currency: currency.toUpperCase() }).format(
    value,
  );
}

export const quantityOf = (item: SubscriptionItem): number => item.quantity ?? 1;

export function itemAmount(item: SubscriptionItem): number {
  return Math.round(Number(item.price.unit_amount_decimal ?? 0) * quantityOf(item));
}

export function productName(world: World, price: Price): { name: string; unit: string } {
  const product = world.state.products.get(price.product);
  return { name: product?.name ?? price.product, unit: product?.unit_label ? ` ${product.unit_label}` : '' };
}
