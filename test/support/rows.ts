// What the database holds of a user, in a form in which two users with the same history are equal.
import { bucketOf } from '../../src/store/bucket.ts';
import type { Queryable } from '../../src/store/database.ts';

/**
 * Every column of the user's rows but those that name the user; a grant or a hold is called by its place.
 * @param except columns to leave out
 */
export async function rowsOf(
  db: Queryable,
  userId: string,
  except: readonly string[] = [],
): Promise<unknown> {
  const read = async (sql: string): Promise<Record<string, unknown>[]> =>
    (await db.query(sql, [bucketOf(userId), userId])).rows;
  const user = await read('select * from users where bucket = $1 and id = $2');
  const grants = await read(
    `select g.*, b.remaining_tokens as true_remaining from credit_grants g join grant_balances b using (bucket, user_id, id)
     where g.bucket = $1 and g.user_id = $2 order by id`,
  );
  const holds = await read('select * from holds where bucket = $1 and user_id = $2 order by id');
  const entries = await read('select * from ledger_entries where bucket = $1 and user_id = $2 order by seq');
  const places = new Map(grants.map(({ id }, place) => [id, `grant ${place}`]));
  holds.forEach(({ id }, place) => {
    places.set(id, `hold ${place}`);
  });
  // The remaining tokens of the head on its own row are those of the time when it became the head.
  const head = grants.find(({ id }) => id === user[0]?.head_grant_id);
  if (head) head.remaining_tokens = head.true_remaining;
  const text = JSON.stringify({ user, grants, holds, entries }).replaceAll(userId, 'the user');
  return JSON.parse(
    text.replace(/(?:gr|hold)_[0-9a-z]{34}/g, (id) => places.get(id) ?? id),
    (key, value) => (['bucket', ...except].includes(key) ? undefined : value),
  );
}
