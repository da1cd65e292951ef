/**
 * Rate limits, counted in the memory of this process: they keep one caller from starving the others, and protect
 * nothing that the ledger does not protect by itself. Several processes allow that many times as much.
 */
import type { Response } from 'express';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { Config } from '../config.ts';
import { TollgateError } from '../errors.ts';

const FAILED_AUTHENTICATIONS_PER_MINUTE = 1_000;

interface Limit {
  name: string;
  quota: number;
  windowSeconds: number;
  /** As the header says it. */
  policy: string;
  counter: RateLimiterMemory;
}

export interface RateLimits {
  user: Limit;
  apiKey: Limit;
  failedAuthentication: Limit;
}

function limit(name: string, quota: number, windowSeconds: number): Limit {
  const counter = new RateLimiterMemory({ keyPrefix: name, points: quota, duration: windowSeconds });
  return { name, quota, windowSeconds, policy: `"${name}";q=${quota};w=${windowSeconds}`, counter };
}

export function rateLimits({ rateLimits: { userPerMinute, keyPerSecond } }: Config): RateLimits {
  return {
    user: limit('user', userPerMinute, 60),
    apiKey: limit('api-key', keyPerSecond, 1),
    failedAuthentication: limit('failed-authentication', FAILED_AUTHENTICATIONS_PER_MINUTE, 60),
  };
}

/**
 * Counts one request of `caller` and says in the answer where it stands (draft-ietf-httpapi-ratelimit-headers-10).
 * @throws TollgateError `rate_limited`
 */
export async function countRequest(limit: Limit, caller: string, response: Response): Promise<void> {
  let state: unknown;
  let isOver = false;
  try {
    state = await limit.counter.consume(caller);
  } catch (rejection) {
    state = rejection;
    isOver = true;
  }
  if (!(state instanceof RateLimiterRes)) throw state;
  const resetsInSeconds = Math.max(1, Math.ceil(state.msBeforeNext / 1000));
  const standing = `"${limit.name}";r=${state.remainingPoints};t=${resetsInSeconds}`;
  response.head.push('RateLimit-Policy', limit.policy, 'RateLimit', standing);
  if (!isOver) return;
  const per = limit.windowSeconds === 1 ? 'second' : `${limit.windowSeconds} seconds`;
  throw new TollgateError('rate_limited', `More than ${limit.quota} requests per ${per}: slow down.`, {
    retryAfterSeconds: resetsInSeconds,
  });
}
