import { invalid, missing } from '../errors.ts';
import type { WireList } from '../wire.ts';
import type { Page } from './params.ts';

/** One page, newest first (https://docs.stripe.com/api/pagination). `items` is in order of creation. */
export function page<T extends { id: string; object: string }>(
  items: Iterable<T>,
  params: Page,
  url: string,
  matches: (item: T) => boolean = () => true,
): WireList<T> {
  const { limit = 10, starting_after: after, ending_before: before } = params;
  if (limit < 1) throw invalid('This value must be greater than or equal to 1.', { param: 'limit' });
  if (limit > 100) throw invalid('This value must be less than or equal to 100.', { param: 'limit' });
  if (after !== undefined && before !== undefined)
    throw invalid('You may only specify one of these parameters: ending_before, starting_after.');
  const all = [...items].filter(matches).reverse();
  if (before !== undefined) {
    const end = position(all, before, 'ending_before');
    const start = Math.max(0, end - limit);
    return { object: 'list', data: all.slice(start, end), has_more: start > 0, url };
  }
  const start = after === undefined ? 0 : position(all, after, 'starting_after') + 1;
  return { object: 'list', data: all.slice(start, start + limit), has_more: start + limit < all.length, url };
}

function position(items: readonly { id: string; object: string }[], id: string, param: string): number {
  const index = items.findIndex((item) => item.id === id);
  if (index < 0) throw missing(items[0]?.object ?? 'object', id, param);
  return index;
}
