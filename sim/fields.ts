export type Fields = Record<string, unknown>;

/** Equal field by field; times by their value, objects in objects as well. */
export function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (a instanceof Date && b instanceof Date) return a.getTime() === b.getTime();
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const [one, other] = [a as Fields, b as Fields];
  for (const field in one) if (!isSame(one[field], other[field])) return false;
  for (const field in other) if (!(field in one)) return false;
  return true;
}
