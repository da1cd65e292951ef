// Users by the hundred thousand, written as signup and grants would have written them, so that every invariant holds.
import type pg from 'pg';
import { addMonths } from '../src/domain/period.ts';
import { bucketOf } from '../src/store/bucket.ts';
import { newUserRowId } from '../src/store/ids.ts';
import { boundariesAt } from '../src/store/ledger-rotation.ts';

export interface Population {
  users: number;
  grantsPerUser: number;
  tokensPerGrant: number;
  /** Consumes of one token each that every user has behind it. */
  earlierConsumes: number;
  /** When the users' month ends; in the past = a reset is due. */
  periodEnd: Date;
}

const CHUNK = 5_000;

const MONTHS_OF_HISTORY = 12;
const WEEKS_OF_HISTORY = 52;

const INSERT_USERS = `
  insert into users (bucket, id, available_tokens, monthly_reset_date, period_end, period_anchor, free_allowance_start,
    head_grant_id, head_source, head_remaining_tokens, last_seq, next_due_at, created_at, updated_at)
  select bucket, id, $4::bigint * $5, $6::timestamptz, $7, $6, $6, head, 'allowance', $5, $4, $7, $8, $8
  from unnest($1::smallint[], $2::text[], $3::text[]) u(bucket, id, head)`;

// The first is the allowance; the others never expire, so it is the head.
const INSERT_GRANTS = `
  insert into credit_grants (bucket, id, user_id, key, source, amount_tokens, remaining_tokens, effective_at, expires_at,
    offer, window_start, window_end, window_kind, created_at)
  select bucket, id, user_id, case n when 0 then 'signup:' || user_id else 'bonus:' || n end,
    (case n when 0 then 'allowance' else 'bonus' end)::grant_source, $5::bigint, $5, $6::timestamptz,
    case n when 0 then $7::timestamptz end, case n when 0 then 'free' end, case n when 0 then $6::timestamptz end,
    case n when 0 then $7::timestamptz end, case n when 0 then 'full' end, $8
  from unnest($1::smallint[], $2::text[], $3::text[], $4::int[]) g(bucket, id, user_id, n)`;

const INSERT_ENTRIES = `
  insert into ledger_entries (bucket, user_id, seq, type, tokens, balance_after, available_after, total_used_after,
    grant_id, key, created_at)
  select bucket, user_id, n + 1, 'granted', $5::bigint, $5 * (n + 1), $5 * (n + 1), 0, id,
    case n when 0 then 'signup:' || user_id else 'bonus:' || n end, $6::timestamptz
  from unnest($1::smallint[], $2::text[], $3::text[], $4::int[]) g(bucket, id, user_id, n)`;

export async function fill(client: pg.Client, population: Population): Promise<void> {
  const { users, grantsPerUser, tokensPerGrant } = population;
  const start = addMonths(population.periodEnd, -1);
  // Not later, but up to three days earlier where the month before is a short one.
  const periodEnd = addMonths(start, 1);
  const createdAt = population.earlierConsumes > 0 ? addMonths(start, -MONTHS_OF_HISTORY) : start;
  const perChunk = Math.max(1, Math.floor(CHUNK / grantsPerUser));
  for (let from = 0; from < users; from += perChunk) {
    const ids = Array.from({ length: Math.min(perChunk, users - from) }, (_, n) => `user-${from + n}`);
    const grants = ids.flatMap((userId) =>
      Array.from({ length: grantsPerUser }, (_, n) => ({ userId, n, id: newUserRowId('gr', userId) })),
    );
    const heads = grants.filter(({ n }) => n === 0).map(({ id }) => id);
    const buckets = ids.map(bucketOf);
    await client.query('begin');
    await client.query(INSERT_USERS, [
      buckets,
      ids,
      heads,
      ...[grantsPerUser, tokensPerGrant, start, periodEnd, createdAt],
    ]);
    const columns = [
      grants.map(({ userId }) => bucketOf(userId)),
      grants.map(({ id }) => id),
      grants.map(({ userId }) => userId),
      grants.map(({ n }) => n),
      tokensPerGrant,
    ];
    await client.query(INSERT_GRANTS, [...columns, start, periodEnd, createdAt]);
    await client.query(INSERT_ENTRIES, [...columns, createdAt]);
    await client.query('commit');
  }
  if (population.earlierConsumes > 0) await addHistory(client, population.earlierConsumes, createdAt);
  await client.query('vacuum analyze');
}

// The n-th consume of each user. Of their times the share $4 lies evenly before $3, the rest evenly since.
const INSERT_CONSUMES = `
  insert into ledger_entries (bucket, user_id, seq, type, tokens, balance_after, available_after, total_used_after,
    grant_id, key, request_hash, created_at)
  select bucket, id, last_seq + $1, 'consumed', -1, available_tokens - $1, available_tokens - $1, $1, head_grant_id,
    'consume:' || gen_random_uuid(), '\\x00112233445566778899aabbccddeeff',
    case when share < $4::float8 then $2::timestamptz + ($3::timestamptz - $2) * (share / $4)
      else $3 + (now() - $3) * ((share - $4) / (1 - $4)) end
  from (select *, ($1::int - row_number() over () / count(*) over ()::float8) / $5::int as share from users) u`;

/**
 * In the order of time, as they would have come: one entry of each user, then the next of each. Evenly over a year, so a
 * whole week's share since the boundary that a rotation of now sets, which is the most that one leaves in the newest part.
 */
async function addHistory(client: pg.Client, consumes: number, since: Date): Promise<void> {
  const [boundary] = boundariesAt(new Date());
  await client.query('begin');
  // What they refer to is there; ten million checks would only prove it again.
  await client.query('set local session_replication_role = replica');
  // Ten million ways down two indexes take longer than making them does; the rotation of the filled ledger makes them.
  await client.query('drop index ledger_entries_key_all, ledger_entries_seq_all');
  for (let n = 1; n <= consumes; n++) {
    const times = [since, `${boundary}T00:00:00Z`, 1 - 1 / WEEKS_OF_HISTORY];
    await client.query(INSERT_CONSUMES, [n, ...times, consumes]);
  }
  await client.query(
    `update users set available_tokens = available_tokens - $1::int, head_remaining_tokens = head_remaining_tokens - $1,
       total_tokens_used = $1, monthly_tokens_used = $1, last_seq = last_seq + $1`,
    [consumes],
  );
  await client.query('commit');
}
