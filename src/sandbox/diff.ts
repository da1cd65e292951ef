import { isDeepStrictEqual } from 'node:util';

type Plain = Record<string, unknown>;

function isHash(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The `previous_attributes` of an update event: the old values of what changed, nested for hashes and objects
 * (`items` shows only its `data`); arrays are given whole, and what was not there is null
 * (https://docs.stripe.com/api/events/object#event_object-data-previous_attributes).
 */
export function previousAttributes(before: object, after: object): Plain {
  const was = new Map<string, unknown>(Object.entries(before));
  const is = new Map<string, unknown>(Object.entries(after));
  const changes: Plain = {};
  for (const key of new Set([...was.keys(), ...is.keys()])) {
    const old = was.get(key) ?? null;
    const current = is.get(key) ?? null;
    if (isDeepStrictEqual(old, current)) continue;
    const nested = isHash(old) && isHash(current) ? previousAttributes(old, current) : null;
    // Fields that are undefined here and absent there are no change.
    if (nested === null) changes[key] = old;
    else if (Object.keys(nested).length > 0) changes[key] = nested;
  }
  return changes;
}
