/** Users and their profiles. Balances change in store/account.ts only. */
import { z } from 'zod';
import type { UserState } from '../domain/model.ts';
import { periodAt } from '../domain/period.ts';
import { USER_SELECT, type UserRow } from './account-rows.ts';
import { BUCKETS, bucketOf } from './bucket.ts';
import type { Prisma, Queryable } from './database.ts';

export interface Profile {
  email: string | null;
  name: string | null;
}

export async function findUser(db: Queryable, userId: string): Promise<UserState | undefined> {
  const { rows } = await db.query<UserRow>(`select ${USER_SELECT} from users where bucket = $1 and id = $2`, [
    bucketOf(userId),
    userId,
  ]);
  return rows[0];
}

const openGrantsSchema = z.array(
  z.object({
    id: z.string(),
    source: z.enum(['allowance', 'bonus', 'adjustment', 'top_up']),
    priority: z.int(),
    amountTokens: z.int(),
    remainingTokens: z.int(),
    effectiveAt: z.iso.datetime({ offset: true }).transform((text) => new Date(text)),
    expiresAt: z.iso
      .datetime({ offset: true })
      .transform((text) => new Date(text))
      .nullable(),
  }),
);
export type OpenGrant = z.infer<typeof openGrantsSchema>[number];

/** A user with the open grants, in one statement: two would show a balance and a sum of different moments. */
export async function findUserWithGrants(
  db: Queryable,
  userId: string,
): Promise<{ user: UserState; grants: OpenGrant[] } | undefined> {
  const { rows } = await db.query<UserRow & { grants: unknown }>(
    `select ${USER_SELECT}, (
       select coalesce(jsonb_agg(jsonb_build_object('id', g.id, 'source', g.source, 'priority', g.priority,
         'amountTokens', g.amount_tokens, 'effectiveAt', g.effective_at, 'expiresAt', g.expires_at, 'remainingTokens',
         case when g.id = u.head_grant_id then u.head_remaining_tokens else g.remaining_tokens end)), '[]')
       from credit_grants g where g.bucket = $1 and g.user_id = $2 and g.closed_at is null) as grants
     from users u where bucket = $1 and id = $2`,
    [bucketOf(userId), userId],
  );
  const row = rows[0];
  return row && { user: row, grants: openGrantsSchema.parse(row.grants) };
}

/**
 * Inserts a user without credits.
 * @returns false where the user is already there, and nothing changed
 */
export async function insertUser(tx: Queryable, userId: string, now: Date): Promise<boolean> {
  const window = periodAt(now, now);
  const { rowCount } = await tx.query(
    `insert into users (bucket, id, monthly_reset_date, period_end, period_anchor, next_due_at, created_at, updated_at)
     values ($1, $2, $3, $4, $3, $4, $3, $3) on conflict do nothing`,
    [bucketOf(userId), userId, window.start, window.end],
  );
  return rowCount === 1;
}

export async function findProfile(db: Prisma, userId: string): Promise<Profile> {
  const profile = await db.userProfile.findUnique({
    where: { bucket_userId: { bucket: bucketOf(userId), userId } },
  });
  return { email: profile?.email ?? null, name: profile?.name ?? null };
}

/** Fills in what is given and leaves the rest. */
export async function saveProfile(tx: Queryable, userId: string, profile: Profile): Promise<void> {
  if (profile.email === null && profile.name === null) return;
  await tx.query(
    `insert into user_profiles (bucket, user_id, email, name) values ($1, $2, $3, $4)
     on conflict (bucket, user_id) do update
       set email = coalesce(excluded.email, user_profiles.email), name = coalesce(excluded.name, user_profiles.name)`,
    [bucketOf(userId), userId, profile.email, profile.name],
  );
}

/** Erases what names the person; the ledger, which knows only the opaque id, keeps every sum. */
export async function deleteProfile(db: Prisma, userId: string): Promise<void> {
  await db.userProfile.deleteMany({ where: { bucket: bucketOf(userId), userId } });
}

/** Parts of all users, about as large as one another. */
export const USER_SLICES = 64;

/**
 * Users of a slice whose row was written since. `updated_at` changes with every consume, so it has no index, which would
 * make each of them write an index as well: the slice's rows are read by the primary key, and once an hour that is cheap.
 * Ledger entries would not do: holds write none, and a late roll stamps them with times that have passed.
 */
export async function listUsersChangedSince(
  db: Queryable,
  { slice, since }: { slice: number; since: Date },
): Promise<string[]> {
  const size = BUCKETS / USER_SLICES;
  const { rows } = await db.query<{ id: string }>(
    `select id from users where bucket >= $1 and bucket < $2 and updated_at >= $3 order by bucket, id`,
    [slice * size, (slice + 1) * size, since],
  );
  return rows.map(({ id }) => id);
}
