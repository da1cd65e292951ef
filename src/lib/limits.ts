/** What every caller's input must keep to; HTTP checks it with its schemas, the library's callers meet it here. */
import { invalidField } from '../errors.ts';

/** Half a billion credits: sums of many of these stay exact below 2^53. */
export const MAX_TOKENS = 1_000_000_000_000;
/** Ten years. */
export const MAX_PERIOD_DAYS = 3_660;
/** RFC 7519 leaves `sub` open; visible ASCII fits every identity provider and every log. */
export const USER_ID = /^[\x21-\x7e]{1,255}$/;

export function requireInteger(
  field: string,
  value: number,
  { min, max }: { min: number; max: number },
): number {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw invalidField(field, `must be a whole number from ${min} to ${max}`);
}

export function requireTokens(field: string, value: number): number {
  return requireInteger(field, value, { min: 1, max: MAX_TOKENS });
}

export function requireUserId(userId: string): string {
  if (typeof userId === 'string' && USER_ID.test(userId)) return userId;
  throw invalidField('userId', 'must be 1 to 255 visible ASCII characters');
}
