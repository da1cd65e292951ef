import { isDeepStrictEqual } from 'node:util';

type Plain = Record<string, unknown>;

function isHash(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !('object' in value);
}

/**
 * The `previous_attributes` of an update event: the old values of what changed, nested for hashes; arrays and
 * lists are given whole (https://docs.stripe.com/api/events/object#event_object-data-previous_attributes).
 */
export function previousAttributes(before: object, after: object): Plain {
  const was = new Map<string, unknown>(Object.entries(before));
  const is = new Map<string, unknown>(Object.entries(after));
  const changes: Plain = {};
  for (const key of new Set([...was.keys(), ...is.keys()])) {
    const old = was.get(key) ?? null;
    const current = is.get(key) ?? null;
    if (isDeepStrictEqual(old, current)) continue;
    changes[key] = isHash(old) && isHash(current) ? previousAttributes(old, current) : old;
  }
  return changes;
}
