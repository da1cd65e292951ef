import { bucketOf } from './bucket.ts';
import type { Pool, Queryable } from './database.ts';
import { inReport } from './transaction.ts';

/** Views of the migration that speak of one user's rows; docs/credits.md says what each holds. */
const USER_VIEWS = [
  'invariant_i1_balance',
  'invariant_i1_chain',
  'invariant_i2_negative',
  'invariant_i3_grants',
  'invariant_i4_sources',
  'invariant_i5_clawed',
  'invariant_i6_keys',
  'invariant_i7_allowances',
];
/** Of entries without a user. */
const OWNER_VIEW = 'invariant_i1_owner';
/** Views that speak of the whole database. */
const GLOBAL_VIEWS = [OWNER_VIEW, 'invariant_i9_inbox', 'invariant_i10_append_only'];

export interface Violation {
  invariant: string;
  userId: string | null;
  detail: string;
}

/** At most this many: the first tell the story. */
const LIMIT = 1000;

const select = (view: string): string =>
  `select '${view}' as invariant, user_id as "userId", detail from ${view}`;

/**
 * Lists what violates an invariant, of everybody; an empty list is a sound ledger. A statement per view, so that each
 * is either of users' rows alone or of none (docs/scaling.md).
 */
export function findViolations(pool: Pool): Promise<Violation[]> {
  return inReport(pool, async (tx) => {
    const violations: Violation[] = [];
    for (const view of [...USER_VIEWS, ...GLOBAL_VIEWS]) {
      const { rows } = await tx.query<Violation>(`${select(view)} limit ${LIMIT}`);
      violations.push(...rows);
    }
    return violations.slice(0, LIMIT);
  });
}

/** Entries of nobody since then: no foreign key refuses them (docs/decisions/0013). */
export function findEntriesOfNobody(pool: Pool, since: Date): Promise<Violation[]> {
  return inReport(pool, async (tx) => {
    const text = `${select(OWNER_VIEW)} where created_at >= $1 limit ${LIMIT}`;
    return (await tx.query<Violation>(text, [since])).rows;
  });
}

const OF_USER = USER_VIEWS.map((view) => `${select(view)} where bucket = $1 and user_id = asked.id`).join(
  ' union all ',
);

/** The same for some users: cheap enough to run for one after every step of a test. A statement per bucket. */
export async function findViolationsOf(db: Queryable, ...userIds: string[]): Promise<Violation[]> {
  const ofBucket = new Map<number, string[]>();
  for (const userId of userIds) {
    const bucket = bucketOf(userId);
    ofBucket.set(bucket, [...(ofBucket.get(bucket) ?? []), userId]);
  }
  const violations: Violation[] = [];
  for (const [bucket, ids] of ofBucket) {
    const { rows } = await db.query<Violation>({
      name: 'violations-of-users',
      // The offset keeps a user's part a statement of its own, which reads that user's rows and not all of the bucket. The
      // inner select hides how many users there are: PostgreSQL plans for each call where that makes a difference, and
      // planning was 2.7 of 3.2 ms.
      text: `select found.* from unnest((select $2::text[])) asked(id) cross join lateral (${OF_USER} offset 0) found`,
      values: [bucket, ids],
    });
    violations.push(...rows);
  }
  return violations;
}
