/**
 * API keys of the app's backend: `tg_test_<public id>_<secret>`. Shown once; of the secret only a SHA-256 is kept (it
 * has 256 random bits, so a slow hash would add nothing).
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Context } from '../context.ts';
import { notFound } from '../errors.ts';
import {
  type ApiKeyRow,
  type ApiKeyScope,
  findApiKey,
  insertApiKey,
  listApiKeys as listRows,
  revokeApiKey as revokeRow,
} from '../store/api-keys.ts';
import { recordAudit } from '../store/audit.ts';
import { newId } from '../store/ids.ts';
import { sha256 } from './sha256.ts';

export { API_KEY_SCOPES, type ApiKeyScope } from '../store/api-keys.ts';

const KEY = /^(tg_(test|live)_[0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;

/**
 * How long a process may go on with what it has read of a key. Revoking takes effect at once in the process that
 * does it and within this time in the others; without it every request would read the key first.
 */
const KEY_CACHE_MS = 1_000;

/** What a caller may know of a key: everything but its secret. */
export interface ApiKeyView extends Record<string, unknown> {
  id: string;
  prefix: string;
  name: string;
  scopes: string[];
  createdAt: string;
  revokedAt: string | null;
}

/** A test key never works where money is real, nor the other way round. */
function keyMode({ config }: Context): 'test' | 'live' {
  return /^(?:sk|rk)_live_/.test(config.stripe.secretKey) ? 'live' : 'test';
}

function keyView(row: ApiKeyRow): ApiKeyView {
  return {
    id: row.id,
    prefix: row.prefix,
    name: row.name,
    scopes: row.scopes,
    createdAt: row.createdAt.toISOString(),
    revokedAt: row.revokedAt?.toISOString() ?? null,
  };
}

/** @returns the key's view, and in `key` the only copy of the key itself */
export async function createApiKey(
  context: Context,
  { name, scopes }: { name: string; scopes: readonly ApiKeyScope[] },
  actor = 'library',
): Promise<ApiKeyView & { key: string }> {
  const prefix = `tg_${keyMode(context)}_${randomBytes(8).toString('hex')}`;
  const secret = randomBytes(32).toString('base64url');
  const now = context.clock.now();
  const row = {
    id: newId('key'),
    prefix,
    secretHash: sha256(secret),
    name,
    scopes: [...new Set(scopes)],
    createdAt: now,
  };
  await insertApiKey(context.db, row);
  await audit(context, { actor, action: 'create_api_key', subject: row.id });
  return { ...keyView({ ...row, revokedAt: null }), key: `${prefix}_${secret}` };
}

export interface VerifiedKey {
  id: string;
  scopes: readonly string[];
}

/**
 * At once where the key was read a moment ago: a promise for every request would cost as much as the comparison.
 * @returns undefined where the key is malformed, unknown, revoked, or of the other mode
 */
export function verifyApiKey(
  context: Context,
  key: string,
): VerifiedKey | undefined | Promise<VerifiedKey | undefined> {
  const [, prefix, mode, secret] = KEY.exec(key) ?? [];
  if (prefix === undefined || secret === undefined || mode !== keyMode(context)) return undefined;
  const known = cacheOf(context).get(prefix);
  if (known?.row && performance.now() - known.readAtMs < KEY_CACHE_MS) return verified(known.row, secret);
  return readKey(context, prefix).then((row) => verified(row, secret));
}

function verified(row: ApiKeyRow | null, secret: string): VerifiedKey | undefined {
  if (!row || row.revokedAt !== null) return undefined;
  return timingSafeEqual(sha256(secret), row.secretHash) ? { id: row.id, scopes: row.scopes } : undefined;
}

interface CachedKey {
  reading: Promise<ApiKeyRow | null>;
  /** Once it was read. */
  row: ApiKeyRow | undefined;
  readAtMs: number;
}

const caches = new WeakMap<Context, Map<string, CachedKey>>();

function cacheOf(context: Context): Map<string, CachedKey> {
  const cache = caches.get(context) ?? new Map<string, CachedKey>();
  caches.set(context, cache);
  return cache;
}

/** Only keys that exist are remembered: guesses fill no memory, and a new key works at once. */
async function readKey(context: Context, prefix: string): Promise<ApiKeyRow | null> {
  const cache = cacheOf(context);
  const nowMs = performance.now();
  const cached = cache.get(prefix);
  if (cached && nowMs - cached.readAtMs < KEY_CACHE_MS) return cached.reading;
  const fresh: CachedKey = { reading: findApiKey(context.db, prefix), row: undefined, readAtMs: nowMs };
  cache.set(prefix, fresh);
  const forget = () => {
    if (cache.get(prefix) === fresh) cache.delete(prefix);
  };
  try {
    const row = await fresh.reading;
    if (row === null) forget();
    else fresh.row = row;
    return row;
  } catch (error) {
    forget();
    throw error;
  }
}

/** Newest first, from before `before` (a key id); revoked ones as well. */
export async function listApiKeys(
  context: Context,
  { before, limit }: { before: string | null; limit: number },
): Promise<ApiKeyView[]> {
  return (await listRows(context.db, { cursor: before, limit })).map(keyView);
}

/** @throws TollgateError `not_found` */
export async function revokeApiKey(context: Context, id: string, actor = 'library'): Promise<void> {
  if (!(await revokeRow(context.db, id, context.clock.now()))) throw notFound('API key');
  cacheOf(context).clear();
  await audit(context, { actor, action: 'revoke_api_key', subject: id });
}

async function audit(
  context: Context,
  act: { actor: string; action: string; subject: string },
): Promise<void> {
  await recordAudit(context.pool, { ...act, userId: null, reason: null, now: context.clock.now() });
}
