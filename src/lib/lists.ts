/** Lists by page: newest first, with an opaque cursor that only its own list understands. */
import { z } from 'zod';
import type { Context } from '../context.ts';
import { invalidField } from '../errors.ts';
import { listGrants } from '../store/grants.ts';
import { entryIdOf } from '../store/ids.ts';
import { listEntries, type StoredEntry } from '../store/ledger.ts';
import { listApiKeys } from './api-keys.ts';
import { grantView } from './grants.ts';
import { userNow } from './users.ts';

export interface PageRequest {
  limit: number;
  cursor?: string | undefined;
}

export interface Page {
  data: Record<string, unknown>[];
  /** Null on the last page. */
  nextCursor: string | null;
}

/** The list's name, whose it is, and the last item of the page before. */
const cursorSchema = z.tuple([z.string(), z.string(), z.union([z.string(), z.int()])]);
type Position = string | number;

function encodeCursor(list: string, owner: string, position: Position): string {
  return Buffer.from(JSON.stringify([list, owner, position])).toString('base64url');
}

/** @throws TollgateError `invalid_request` for a cursor that is broken, or of another list or user */
function decodeCursor(cursor: string, list: string, owner: string): Position {
  const text = Buffer.from(cursor, 'base64url').toString();
  const refused = invalidField('query.cursor', 'is no cursor of this list: start again without one');
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw refused;
  }
  const parsed = cursorSchema.safeParse(content);
  if (!parsed.success) throw refused;
  const [, , position] = parsed.data;
  // Only what we wrote ourselves for this list and this owner.
  if (encodeCursor(list, owner, position) !== cursor) throw refused;
  return position;
}

export interface PageOf<Item> {
  list: string;
  owner: string;
  read(before: Position | null, limit: number): Promise<Item[]>;
  positionOf(item: Item): Position;
  view(item: Item): Record<string, unknown>;
}

/** One page of any list that is read newest or oldest first from a position. */
export async function pageOf<Item>({ limit, cursor }: PageRequest, source: PageOf<Item>): Promise<Page> {
  const before = cursor === undefined ? null : decodeCursor(cursor, source.list, source.owner);
  // One more than asked for tells whether there is another page.
  const items = await source.read(before, limit + 1);
  const shown = items.slice(0, limit);
  const last = shown.at(-1);
  const hasMore = items.length > limit && last !== undefined;
  return {
    data: shown.map(source.view),
    nextCursor: hasMore ? encodeCursor(source.list, source.owner, source.positionOf(last)) : null,
  };
}

/** @throws TollgateError `not_found` for an unknown user */
export async function listLedger(context: Context, userId: string, page: PageRequest): Promise<Page> {
  await userNow(context, userId);
  return pageOf(page, {
    list: 'ledger',
    owner: userId,
    read: (before, limit) =>
      listEntries(context.pool, userId, { beforeSeq: Number(before ?? Number.MAX_SAFE_INTEGER), limit }),
    positionOf: (entry) => entry.seq,
    view: (entry) => entryView(userId, entry),
  });
}

export function entryView(userId: string, entry: StoredEntry): Record<string, unknown> {
  const [only] = entry.parts;
  return {
    entryId: entryIdOf(userId, entry.seq),
    type: entry.type,
    tokens: entry.tokens,
    balanceAfter: entry.balanceAfter,
    grantId: entry.grantId ?? (entry.parts.length === 1 && only ? only.grantId : null),
    parts: entry.parts,
    overageTokens: entry.overageTokens,
    feature: entry.feature,
    key: entry.key,
    reason: entry.reason,
    metadata: entry.metadata,
    createdAt: entry.createdAt.toISOString(),
  };
}

/** @throws TollgateError `not_found` for an unknown user */
export async function listUserGrants(context: Context, userId: string, page: PageRequest): Promise<Page> {
  await userNow(context, userId);
  return pageOf(page, {
    list: 'grants',
    owner: userId,
    read: (before, limit) =>
      listGrants(context.pool, userId, { before: before === null ? null : String(before), limit }),
    positionOf: (grant) => grant.id,
    view: grantView,
  });
}

export function listKeys(context: Context, page: PageRequest): Promise<Page> {
  return pageOf(page, {
    list: 'api-keys',
    owner: '',
    read: (before, limit) => listApiKeys(context, { before: before === null ? null : String(before), limit }),
    positionOf: (key) => key.id,
    view: (key) => key,
  });
}
