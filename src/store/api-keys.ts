import type { Prisma } from './database.ts';

export const API_KEY_SCOPES = ['consume', 'read', 'billing', 'admin'] as const;
export type ApiKeyScope = (typeof API_KEY_SCOPES)[number];

export interface ApiKeyRow {
  id: string;
  /** The public part by which the key is found. */
  prefix: string;
  secretHash: Uint8Array;
  name: string;
  scopes: string[];
  createdAt: Date;
  revokedAt: Date | null;
}

export function findApiKey(db: Prisma, prefix: string): Promise<ApiKeyRow | null> {
  return db.apiKey.findUnique({ where: { prefix } });
}

export async function insertApiKey(db: Prisma, key: Omit<ApiKeyRow, 'revokedAt'>): Promise<void> {
  await db.apiKey.create({ data: { ...key, secretHash: new Uint8Array(key.secretHash) } });
}

/** Newest first, from before `cursor` (a key id). */
export function listApiKeys(
  db: Prisma,
  { cursor, limit }: { cursor: string | null; limit: number },
): Promise<ApiKeyRow[]> {
  return db.apiKey.findMany({
    ...(cursor === null ? {} : { where: { id: { lt: cursor } } }),
    orderBy: { id: 'desc' },
    take: limit,
  });
}

/** False where there is no such key. Revoking twice keeps the first time. */
export async function revokeApiKey(db: Prisma, id: string, now: Date): Promise<boolean> {
  if ((await db.apiKey.count({ where: { id } })) === 0) return false;
  await db.apiKey.updateMany({ where: { id, revokedAt: null }, data: { revokedAt: now } });
  return true;
}
