/**
 * Who is calling. Two kinds of credential, each for its own routes: API keys of the app's backend for /v1, tokens of
 * end users for /api.
 */
import type { Request, Response } from 'express';
import type { Context } from '../context.ts';
import { TollgateError } from '../errors.ts';
import { type VerifiedKey, verifyApiKey } from '../lib/api-keys.ts';
import { signUp } from '../lib/users.ts';
import { findUser } from '../store/users.ts';
import { type TokenVerifier, tokenVerifier } from './jwt.ts';
import { countRequest, type RateLimits, rateLimits } from './limits.ts';
import type { Principal, RouteAuth } from './route.ts';

/** Users that are known to be there (none is ever deleted); beyond this many it starts afresh. */
const KNOWN_USERS_MAX = 100_000;

export interface Authenticator {
  /**
   * @throws TollgateError `unauthenticated`, `forbidden`, `rate_limited`
   */
  authenticate(auth: RouteAuth, request: Request, response: Response): Promise<Principal>;
}

export function authenticator(context: Context): Authenticator {
  const limits = rateLimits(context.config);
  const verifyToken = tokenVerifier(context.config);
  const knownUsers = new Set<string>();

  return {
    async authenticate(auth, request, response) {
      if (auth.kind === 'none') return { kind: 'none' };
      const principal =
        auth.kind === 'apiKey'
          ? await keyPrincipal(context, request)
          : await userPrincipal(verifyToken, request);
      if (principal.kind === 'none') return refuse(limits, auth, request, response);
      await countRequest(principal.kind === 'user' ? limits.user : limits.apiKey, principal.id, response);
      if (principal.kind === 'user') await ensureUser(context, knownUsers, principal.id);
      if (auth.kind === 'apiKey') requireScope(auth.scopes, principal, response);
      return principal;
    },
  };
}

/** The credential of `Authorization: Bearer …`; undefined where there is none. */
function bearerOf(request: Request): string | undefined {
  return /^Bearer +([\x21-\x7e]+) *$/i.exec(request.headers.authorization ?? '')?.[1];
}

function keyPrincipal(context: Context, request: Request): Principal | Promise<Principal> {
  const credential = bearerOf(request);
  const key = credential === undefined ? undefined : verifyApiKey(context, credential);
  return key instanceof Promise ? key.then(principalOfKey) : principalOfKey(key);
}

function principalOfKey(key: VerifiedKey | undefined): Principal {
  return key ? { kind: 'apiKey', id: key.id, scopes: key.scopes } : { kind: 'none' };
}

async function userPrincipal(verify: TokenVerifier, request: Request): Promise<Principal> {
  const credential = bearerOf(request);
  const subject = credential === undefined ? undefined : await verify(credential);
  return subject === undefined ? { kind: 'none' } : { kind: 'user', id: subject };
}

const WANTED = { apiKey: 'an API key (tg_test_… or tg_live_…)', user: 'the JWT of an end user' } as const;

/** Says what was wanted and never what was wrong with what came: that would help to guess. */
async function refuse(
  limits: RateLimits,
  auth: Exclude<RouteAuth, { kind: 'none' }>,
  request: Request,
  response: Response,
): Promise<never> {
  // A limit on failures only: whoever shares an address with a guesser goes on undisturbed.
  await countRequest(limits.failedAuthentication, request.ip ?? 'unknown', response);
  const isMissing = request.headers.authorization === undefined;
  response.set('WWW-Authenticate', `Bearer realm="tollgate"${isMissing ? '' : ', error="invalid_token"'}`);
  throw new TollgateError('unauthenticated', `Send Authorization: Bearer with ${WANTED[auth.kind]}.`);
}

function requireScope(wanted: readonly string[], principal: Principal, response: Response): void {
  const held = principal.kind === 'apiKey' ? principal.scopes : [];
  if (held.includes('admin') || wanted.some((scope) => held.includes(scope))) return;
  response.set(
    'WWW-Authenticate',
    `Bearer realm="tollgate", error="insufficient_scope", scope="${wanted.join(' ')}"`,
  );
  throw new TollgateError('forbidden', `This takes an API key with the scope ${wanted.join(' or ')}.`);
}

/** The first call of a user that the app's tokens vouch for is its signup. */
async function ensureUser(context: Context, known: Set<string>, userId: string): Promise<void> {
  if (known.has(userId)) return;
  if (!(await findUser(context.pool, userId))) await signUp(context, { userId });
  if (known.size >= KNOWN_USERS_MAX) known.clear();
  known.add(userId);
}
