import { crc32 } from 'node:zlib';

export const BUCKETS = 1024;

/**
 * The bucket of a user: CRC-32 (ISO 3309, as in zlib) of the UTF-8 id, modulo 1024. Stored in every row of the user,
 * so it can never change; the one place that computes it.
 */
export function bucketOf(userId: string): number {
  return crc32(userId) % BUCKETS;
}
