/** What is due for many users, whom nobody has touched. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Context } from '../context.ts';
import { ChunkFailedError, rollChunk, withAccount } from '../store/account.ts';
import { bucketOf } from '../store/bucket.ts';
import { type DueChunk, type DueKind, listDueBuckets, listDueUsers } from '../store/due-users.ts';
import { hasOneLane } from '../store/lanes.ts';
import { accountOptions } from './requests.ts';

/** Users that share a commit. With 40 or 80 a reset was slower, and the p99 of consumes beside it was the same. */
const CHUNK = 160;
/**
 * Of the time that a chunk took, how long the others have the database and its disk to themselves before the next: with
 * a tenth a reset has 1.4 times the users a second, and the p99 of consumes beside it is half as much again.
 */
const PAUSE_SHARE = 0.5;

/**
 * Applies what is due, chunk by chunk, each with a commit of its own. One bad user stops nobody: a chunk that fails is
 * done user by user. A user that fails is passed over until the next run.
 * @returns how many were rolled
 */
export async function rollUsers(context: Context, kind: DueKind): Promise<number> {
  const { pool, clock } = context;
  const failed = new Set<string>();
  let rolled = 0;
  const buckets = await listDueBuckets(pool, kind, clock.now());
  if (await hasOneLane(pool)) rolled += await rollBuckets(context, { kind, lane: null, buckets }, failed);
  else {
    for (const bucket of buckets) {
      rolled += await rollBuckets(context, { kind, lane: bucket, buckets: [bucket] }, failed);
    }
  }
  return rolled + (await rollPassedOver(context, kind, failed));
}

async function rollBuckets(
  context: Context,
  { kind, lane, buckets }: Pick<DueChunk, 'kind' | 'lane' | 'buckets'>,
  failed: Set<string>,
): Promise<number> {
  let rolled = 0;
  let left = buckets;
  for (;;) {
    const startMs = performance.now();
    const chunk = { kind, lane, buckets: left, limit: CHUNK, except: [...failed] };
    let userIds: readonly string[];
    try {
      userIds = await rollChunk(accountOptions(context), chunk);
      rolled += userIds.length;
    } catch (error) {
      if (!(error instanceof ChunkFailedError)) throw error;
      userIds = error.userIds;
      context.log.warn({ err: error.cause, users: userIds.length }, 'A chunk is rolled user by user');
      rolled += await rollAlone(context, userIds, failed);
    }
    await delay((performance.now() - startMs) * PAUSE_SHARE);
    const last = userIds.at(-1);
    if (last === undefined || userIds.length < CHUNK) return rolled;
    // Those before it have nobody left.
    left = left.slice(left.indexOf(bucketOf(last)));
  }
}

/** Who is left beyond these is taken by the next run. */
const PASSED_OVER_MAX = 200;

/** Those whose rows were locked when their chunk came by. */
async function rollPassedOver(context: Context, kind: DueKind, failed: Set<string>): Promise<number> {
  const page = { now: context.clock.now(), limit: PASSED_OVER_MAX + failed.size };
  const left = await listDueUsers(context.pool, kind, page);
  return rollAlone(
    context,
    left.filter((userId) => !failed.has(userId)),
    failed,
  );
}

async function rollAlone(context: Context, userIds: readonly string[], failed: Set<string>): Promise<number> {
  let rolled = 0;
  for (const userId of userIds) {
    try {
      await withAccount(accountOptions(context), userId, () => undefined);
      rolled += 1;
    } catch (error) {
      failed.add(userId);
      context.log.error({ err: error, userId, alert: 'roll_failed' }, 'A user could not be rolled forward');
    }
  }
  return rolled;
}
