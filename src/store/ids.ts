/**
 * Opaque ids. Those of a user's rows carry the user's bucket, so that a row can be found by its id alone with an
 * equality on the distribution column.
 */
import { randomFillSync } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { BUCKETS, bucketOf } from './bucket.ts';

const RANDOM_BYTES = 16;
/** Asking the system for the bytes of each id by itself took an eighth of what the job takes to roll a user. */
const randomBytes = new Uint8Array(RANDOM_BYTES * 256);
let nextRandom = randomBytes.length;
const latest = { msecs: 0, seq: 0 };

/** As `uuidv7()` makes it: those of one millisecond count up. */
function newUuid(): string {
  if (nextRandom === randomBytes.length) {
    randomFillSync(randomBytes);
    nextRandom = 0;
  }
  const random = randomBytes.subarray(nextRandom, nextRandom + RANDOM_BYTES);
  nextRandom += RANDOM_BYTES;
  const now = Date.now();
  if (now > latest.msecs) {
    latest.msecs = now;
    latest.seq = new DataView(random.buffer, random.byteOffset).getUint32(0) >>> 1;
  } else latest.seq++;
  return uuidv7({ random, ...latest }).replaceAll('-', '');
}

/** Sortable by time of creation. */
export function newId(prefix: string): string {
  return `${prefix}_${newUuid()}`;
}

export function newUserRowId(prefix: string, userId: string): string {
  const bucket = bucketOf(userId).toString(36).padStart(2, '0');
  return `${prefix}_${bucket}${newUuid()}`;
}

/** The bucket inside an id of `newUserRowId`; undefined where the text is no such id. */
export function bucketOfRowId(prefix: string, id: string): number | undefined {
  const match = /^([a-z]+)_([0-9a-z]{2})[0-9a-f]{32}$/.exec(id);
  if (match?.[1] !== prefix || match[2] === undefined) return undefined;
  const bucket = Number.parseInt(match[2], 36);
  return bucket < BUCKETS ? bucket : undefined;
}

/** A ledger entry is its user and its place in that user's ledger. */
export function entryIdOf(userId: string, seq: number): string {
  return `le_${seq.toString(36)}_${Buffer.from(userId).toString('base64url')}`;
}

export function parseEntryId(id: string): { userId: string; seq: number } | undefined {
  const match = /^le_([0-9a-z]{1,11})_([A-Za-z0-9_-]{1,1400})$/.exec(id);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  const seq = Number.parseInt(match[1], 36);
  const userId = Buffer.from(match[2], 'base64url').toString();
  return Number.isSafeInteger(seq) && entryIdOf(userId, seq) === id ? { userId, seq } : undefined;
}

/** A hold as callers know it: its row, and whose it is, so that nobody has to be asked for the user. */
export function holdIdOf(userId: string, rowId: string): string {
  return `${rowId}_${Buffer.from(userId).toString('base64url')}`;
}

/** Ids that were given out before they named the user have none. */
export function parseHoldId(id: string): { rowId: string; userId: string | undefined } | undefined {
  const match = /^(hold_[0-9a-z]{2}[0-9a-f]{32})(?:_([A-Za-z0-9_-]{1,1400}))?$/.exec(id);
  const [, rowId, encoded] = match ?? [];
  if (rowId === undefined) return undefined;
  if (encoded === undefined) return { rowId, userId: undefined };
  const userId = Buffer.from(encoded, 'base64url').toString();
  return holdIdOf(userId, rowId) === id ? { rowId, userId } : undefined;
}
