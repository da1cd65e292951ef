/** What an entry's grants say of themselves, and what Stripe has told of their payments. */
import type { Grant } from '../domain/model.ts';
import { GRANT_SELECT } from './account-rows.ts';
import { bucketOf } from './bucket.ts';
import type { Queryable } from './database.ts';

/** A grant without its changing parts: the head's remaining tokens are on the user row. */
export type GrantFacts = Omit<Grant, 'remainingTokens' | 'heldTokens'>;

export async function findGrantFacts(
  db: Queryable,
  userId: string,
  grantIds: readonly string[],
): Promise<GrantFacts[]> {
  const { rows } = await db.query<Grant>(
    `select ${GRANT_SELECT} from credit_grants where bucket = $1 and user_id = $2 and id = any($3)`,
    [bucketOf(userId), userId, grantIds],
  );
  return rows;
}

export interface HandledEvent {
  id: string;
  objectId: string | null;
  /** What handling it did, in words. */
  outcome: string;
  receivedAt: Date;
  handledAt: Date;
}

/** Events that were handled for a user and point at one of `objectIds`, or whose outcome names one of `names`. */
export async function listEventsAbout(
  db: Queryable,
  userId: string,
  { objectIds, names }: { objectIds: readonly string[]; names: readonly string[] },
): Promise<HandledEvent[]> {
  const { rows } = await db.query<HandledEvent>(
    `select id, object_id as "objectId", outcome, received_at as "receivedAt", handled_at as "handledAt"
     from stripe_events where user_id = $1 and status = 'handled' and outcome is not null
       and (object_id = any($2) or exists (select 1 from unnest($3::text[]) name where position(name in outcome) > 0))
     order by received_at, id`,
    [userId, objectIds, names],
  );
  return rows;
}
