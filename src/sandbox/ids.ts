import { randomBytes } from 'node:crypto';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

export function randomText(length: number): string {
  let text = '';
  // 248 = 4 × 62: bytes above it are skipped, else the first letters would be more likely.
  while (text.length < length)
    for (const byte of randomBytes(length))
      if (byte < 248 && text.length < length) text += ALPHABET[byte % 62];
  return text;
}

export const newId = (prefix: string, length = 24): string => `${prefix}_${randomText(length)}`;
