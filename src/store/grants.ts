/** Reading grants and holds. Writing goes through store/account.ts. */
import type { Grant, Hold } from '../domain/model.ts';
import { GRANT_SELECT, HOLD_SELECT } from './account-rows.ts';
import { bucketOf } from './bucket.ts';
import type { Queryable, Transaction } from './database.ts';
import { bucketOfRowId } from './ids.ts';
import type { Lane } from './lanes.ts';
import { type OfUser, RowSetStatement } from './row-sets.ts';

/** What truly remains: the head's part is on the user row. */
const WITH_BALANCE = GRANT_SELECT.replace(
  'remaining_tokens as "remainingTokens"',
  `case when id = (select u.head_grant_id from users u where u.bucket = $1 and u.id = $2)
        then (select u.head_remaining_tokens from users u where u.bucket = $1 and u.id = $2)
        else remaining_tokens end as "remainingTokens"`,
);

/** Newest first, from below `before` (a grant id). */
export async function listGrants(
  db: Queryable,
  userId: string,
  { before, limit }: { before: string | null; limit: number },
): Promise<Grant[]> {
  const { rows } = await db.query<Grant>(
    `select ${WITH_BALANCE} from credit_grants
     where bucket = $1 and user_id = $2 and ($3::text is null or id < $3) order by id desc limit $4`,
    [bucketOf(userId), userId, before, limit],
  );
  return rows;
}

export async function findGrantId(db: Queryable, userId: string, key: string): Promise<string | undefined> {
  const { rows } = await db.query<{ id: string }>(
    `select id from credit_grants where bucket = $1 and user_id = $2 and key = $3`,
    [bucketOf(userId), userId, key],
  );
  return rows[0]?.id;
}

export async function findHold(db: Queryable, userId: string, holdId: string): Promise<Hold | undefined> {
  const { rows } = await db.query<Hold>(
    `select ${HOLD_SELECT} from holds where bucket = $1 and user_id = $2 and id = $3`,
    [bucketOf(userId), userId, holdId],
  );
  return rows[0];
}

/** Whose hold it is, for an id that does not say it (store/ids.ts); undefined where there is no such hold. */
export async function findUserOfHold(db: Queryable, holdId: string): Promise<string | undefined> {
  const bucket = bucketOfRowId('hold', holdId);
  if (bucket === undefined) return undefined;
  const { rows } = await db.query<{ userId: string }>(
    `select user_id as "userId" from holds where bucket = $1 and id = $2`,
    [bucket, holdId],
  );
  return rows[0]?.userId;
}

const byId = (name: string, table: string, select: string): RowSetStatement<'id'> =>
  new RowSetStatement(
    name,
    { id: 'text' },
    ({ rows, bucket }) => `select user_id as "userId", ${select} from (select t.* from ${rows}
      join ${table} t on t.bucket = ${bucket} and t.id = r.id and t.user_id = r.user_id) t`,
  );

const GRANTS_BY_ID = byId('grants_by_id', 'credit_grants', GRANT_SELECT);
const HOLDS_BY_ID = byId('holds_by_id', 'holds', HOLD_SELECT);

/** Those that are not there are left out. */
export async function findGrantsById(
  tx: Transaction,
  lane: Lane,
  wanted: readonly OfUser<{ id: string }>[],
): Promise<OfUser<Grant>[]> {
  const rows = await GRANTS_BY_ID.read<Grant & { userId: string }>(tx, lane, wanted);
  return rows.map(({ userId, ...row }) => ({ userId, row }));
}

/** Those that are not there are left out. */
export async function findHoldsById(
  tx: Transaction,
  lane: Lane,
  wanted: readonly OfUser<{ id: string }>[],
): Promise<OfUser<Hold>[]> {
  const rows = await HOLDS_BY_ID.read<Hold & { userId: string }>(tx, lane, wanted);
  return rows.map(({ userId, ...row }) => ({ userId, row }));
}
