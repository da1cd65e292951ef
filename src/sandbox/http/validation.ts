import type { z } from 'zod';
import { invalid, type StripeError } from '../errors.ts';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** `['items', 0, 'price']` → `items[0][price]` */
function paramName(path: Path): string {
  return path.map((part, index) => (index === 0 ? String(part) : `[${String(part)}]`)).join('');
}

function valueAt(raw: unknown, path: Path): unknown {
  let value = raw;
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = Object.entries(value).find(([key]) => key === String(part))?.[1];
  }
  return value;
}

/** Of a union's branches, the one whose complaint lies deepest is the one the caller meant. */
function flatten(issue: Issue, base: Path = []): { issue: Issue; path: Path } {
  const path = [...base, ...issue.path];
  if (issue.code !== 'invalid_union') return { issue, path };
  const nested = issue.errors
    .flatMap((branch) => branch.slice(0, 1))
    .map((inner) => flatten(inner, path))
    .sort((a, b) => b.path.length - a.path.length || rank(b.issue) - rank(a.issue));
  return nested[0] ?? { issue, path };
}

const rank = (issue: Issue): number =>
  issue.code === 'unrecognized_keys' ? 2 : issue.code === 'custom' ? 1 : 0;

function listOf(values: readonly unknown[]): string {
  const names = values.map(String);
  const last = names.pop();
  return names.length === 0 ? String(last) : `${names.join(', ')}, or ${last}`;
}

/** A failed parse as Stripe words it (https://docs.stripe.com/error-codes). */
export function validationError(error: z.ZodError, raw: unknown): StripeError {
  const first = error.issues[0];
  if (first === undefined) return invalid('Invalid request');
  const { issue, path } = flatten(first);
  if (issue.code === 'unrecognized_keys') {
    const names = issue.keys.map((key) => paramName([...path, key]));
    const message = `Received unknown parameter${names.length > 1 ? 's' : ''}: ${names.join(', ')}`;
    return invalid(message, { code: 'parameter_unknown', param: names[0] ?? '' });
  }
  const param = paramName(path);
  const value = valueAt(raw, path);
  if (value === undefined)
    return invalid(`Missing required param: ${param}.`, { code: 'parameter_missing', param });
  if (issue.code === 'invalid_value')
    return invalid(`Invalid ${param}: must be one of ${listOf(issue.values)}`, { param });
  if (issue.code === 'invalid_type' && issue.expected === 'object')
    return invalid('Invalid object', { param });
  if (issue.code === 'invalid_type' && issue.expected === 'array') return invalid('Invalid array', { param });
  if (issue.message === 'Invalid integer')
    return invalid(`Invalid integer: ${String(value)}`, { code: 'parameter_invalid_integer', param });
  if (issue.code === 'custom' && /^This value|^Invalid non-negative/.test(issue.message))
    return invalid(issue.message, { code: 'parameter_invalid_integer', param });
  if (issue.code === 'too_big' && typeof value === 'string')
    return invalid(
      `Invalid string: ${value.slice(0, 10)}...${value.slice(-10)}; must be at most ${String(issue.maximum)} characters`,
      { param },
    );
  if (value === '')
    return invalid(
      `You passed an empty string for '${param}'. We assume empty values are an attempt to unset a parameter; however '${param}' cannot be unset. You should remove '${param}' from your request or supply a non-empty value.`,
      { code: 'parameter_invalid_empty', param },
    );
  return invalid(`${issue.message}: ${param}`, { param });
}
