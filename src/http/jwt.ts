/** End users' tokens (RFC 7519): HS256 by a shared secret, RS256 or ES256 by the keys that an issuer publishes. */
import { createRemoteJWKSet, decodeProtectedHeader, errors, type JWTVerifyOptions, jwtVerify } from 'jose';
import type { Config } from '../config.ts';
import { TollgateError } from '../errors.ts';
import { USER_ID } from '../lib/limits.ts';

/** @returns the `sub`; undefined where the token does not hold */
export type TokenVerifier = (token: string) => Promise<string | undefined>;

/** Times in a token are wall time, whatever clock the business runs on. */
export function tokenVerifier({ auth }: Config): TokenVerifier {
  const secret = auth.jwtSecret === undefined ? undefined : new TextEncoder().encode(auth.jwtSecret);
  const published = auth.jwksUrl === undefined ? undefined : createRemoteJWKSet(new URL(auth.jwksUrl));
  const options: JWTVerifyOptions = {
    requiredClaims: ['sub', 'exp'],
    ...(auth.issuer === undefined ? {} : { issuer: auth.issuer }),
    ...(auth.audience === undefined ? {} : { audience: auth.audience }),
  };

  /** The algorithm chooses the key, and each key allows only its own: a public key never serves as a secret. */
  async function claims(token: string): Promise<unknown> {
    const { alg } = decodeProtectedHeader(token);
    if (alg === 'HS256' && secret) {
      return (await jwtVerify(token, secret, { ...options, algorithms: ['HS256'] })).payload.sub;
    }
    if (published && (alg === 'RS256' || alg === 'ES256')) {
      return (await jwtVerify(token, published, { ...options, algorithms: ['RS256', 'ES256'] })).payload.sub;
    }
    return undefined;
  }

  return async (token) => {
    try {
      const subject = await claims(token);
      return typeof subject === 'string' && USER_ID.test(subject) ? subject : undefined;
    } catch (error) {
      if (isFaultOfToken(error)) return undefined;
      throw new TollgateError('unavailable', 'The keys that tokens are checked with could not be read.', {
        retryAfterSeconds: 2,
        cause: error,
      });
    }
  };
}

/** What remains is the key server's: it did not answer, or not with keys. */
function isFaultOfToken(error: unknown): boolean {
  if (error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid) return false;
  if (error instanceof errors.JOSEError) return error.code !== 'ERR_JOSE_GENERIC';
  // jose answers a malformed header or payload with a TypeError; so does fetch for a network failure, with a cause.
  return error instanceof TypeError && error.cause === undefined;
}
