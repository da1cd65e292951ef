/**
 * Moves the boundaries between the parts of the ledger forward, so that the indexes that consumes write stay small
 * (docs/decisions/0012). No row moves. Whatever the boundaries are, every statement is right: they only decide which index
 * an entry lies in. So a rotation may die anywhere: the next one goes on from what it finds.
 */
import { setTimeout as delay } from 'node:timers/promises';
import pg, { DatabaseError } from 'pg';
import { DAY_IN_MS } from '../domain/period.ts';

const LOCK = 'tollgate:rotate-ledger';

/**
 * While the newest part has fewer entries, its two indexes are some 10 MB each: smaller ones would save nothing that can
 * be measured, and each part more costs a consume another look-up.
 */
export const ENTRIES_PER_PART_MIN = 250_000;

/** For the lock on the view: all statements on the ledger wait as long as this one does. */
const SWAP_LOCK_MS = 200;
const SWAP_REST_MS = 1_000;
const SWAP_ATTEMPTS = 300;
const LOCK_NOT_AVAILABLE = '55P03';

export interface Rotation {
  /** Midnights (UTC) between the parts, newest first. */
  boundaries: string[];
  createdIndexes: string[];
  droppedIndexes: string[];
}

const dateOf = (time: number): string => new Date(time).toISOString().slice(0, 10);

/**
 * The parts: this week, the rest of the month in which it began, and all before. A week's indexes are made anew each
 * week, and those of all before, which take the longest, each month.
 */
export function boundariesAt(now: Date): string[] {
  const daysSinceMonday = (now.getUTCDay() + 6) % 7;
  const monday = new Date(now.getTime() - daysSinceMonday * DAY_IN_MS);
  const first = Date.UTC(monday.getUTCFullYear(), monday.getUTCMonth(), 1);
  return [...new Set([dateOf(monday.getTime()), dateOf(first)])];
}

/**
 * Over a connection of its own, as an index of a large ledger takes minutes; consumes go on meanwhile.
 * @param options.entriesMin leaves the boundaries where they are while the newest part has fewer; what an earlier rotation
 *   has left undone is done all the same
 * @returns undefined where another process is at it
 * @throws Error where something kept the ledger in use for minutes; the next run goes on from there
 */
export async function rotateLedger(
  databaseUrl: string,
  now: Date,
  { entriesMin = 0 }: { entriesMin?: number } = {},
): Promise<Rotation | undefined> {
  const client = new pg.Client({ connectionString: databaseUrl });
  // The statement that was under way tells of a broken connection.
  client.on('error', () => {});
  await client.connect();
  try {
    // Never waited for: a session that waits has a snapshot, which the building of an index waits for in turn.
    const { rows } = await client.query<{ had: boolean }>(
      `select pg_try_advisory_lock(hashtextextended($1, 0)) as had`,
      [LOCK],
    );
    return rows[0]?.had ? await rotate(client, now, entriesMin) : undefined;
  } finally {
    // Ends the session and with it the lock.
    await client.end();
  }
}

async function rotate(client: pg.Client, now: Date, entriesMin: number): Promise<Rotation> {
  const present = await readBoundaries(client);
  const boundaries = await nextBoundaries(client, present, { now, entriesMin });
  const wanted = await listWantedIndexes(client, boundaries);
  const createdIndexes: string[] = [];
  for (const index of wanted) {
    if (await ensureIndex(client, index)) createdIndexes.push(index.name);
  }
  if (String(boundaries) !== String(present)) await swap(client, boundaries);
  const names = wanted.map(({ name }) => name);
  const droppedIndexes = [...(await readIndexes(client)).keys()].filter((name) => !names.includes(name));
  for (const name of droppedIndexes) await client.query(`drop index concurrently if exists "${name}"`);
  return { boundaries, createdIndexes, droppedIndexes };
}

async function readBoundaries(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ boundaries: string[] }>(
    'select ledger_boundaries()::text[] as boundaries',
  );
  return rows[0]?.boundaries ?? [];
}

/** They never go back: a clock that was set back would have the largest indexes made for nothing. */
async function nextBoundaries(
  client: pg.Client,
  present: string[],
  { now, entriesMin }: { now: Date; entriesMin: number },
): Promise<string[]> {
  const next = boundariesAt(now);
  const [newest = '-infinity'] = present;
  if ((next[0] ?? '') <= newest && present.length > 0) return present;
  // It names a column, as Citus reads a limited part of a table on the way to the count, and cannot read one of none.
  const { rows } = await client.query<{ count: string }>(
    `select count(*) as count from (select seq from ledger_entries where created_at >= $1::timestamptz limit $2) newest`,
    [newest === '-infinity' ? newest : `${newest}T00:00:00Z`, entriesMin],
  );
  return Number(rows[0]?.count) < entriesMin ? present : next;
}

interface Index {
  name: string;
  /** Unique or not. */
  kind: string;
  definition: string;
}

async function listWantedIndexes(client: pg.Client, boundaries: readonly string[]): Promise<Index[]> {
  const { rows } = await client.query<Index>(
    'select name, kind, definition from ledger_indexes($1::date[])',
    [boundaries],
  );
  return rows;
}

/** Whether they are complete, by the names that `ledger_indexes` gives. */
async function readIndexes(client: pg.Client): Promise<Map<string, boolean>> {
  const { rows } = await client.query<{ name: string; valid: boolean }>(
    `select relname as name, indisvalid as valid from pg_index join pg_class on pg_class.oid = indexrelid
     where indrelid = 'ledger_entries'::regclass and relname ~ '^ledger_entries_(seq|key)_(all|from|until)'
     order by relname`,
  );
  return new Map(rows.map(({ name, valid }) => [name, valid]));
}

/** @returns whether it had to be made */
async function ensureIndex(client: pg.Client, { name, kind, definition }: Index): Promise<boolean> {
  const isValid = (await readIndexes(client)).get(name);
  if (isValid) return false;
  // What was cut off is filled by every insert and used by no statement. On Citus some shards may not have it yet.
  if (isValid === false) await client.query(`drop index concurrently if exists "${name}"`);
  await client.query(`create ${kind} concurrently "${name}" ${definition}`);
  return true;
}

/**
 * From here on statements name the new parts. Those that are planned already name the old ones, and use their indexes
 * until these are dropped, when they are planned anew.
 */
async function swap(client: pg.Client, boundaries: readonly string[]): Promise<void> {
  const { rows } = await client.query<{ text: string }>(`select ledger_definition($1::date[]) as text`, [
    boundaries,
  ]);
  for (let attempt = 1; ; attempt++) {
    try {
      // Several statements in one message are one transaction.
      await client.query(`set local lock_timeout = ${SWAP_LOCK_MS}; ${rows[0]?.text}`);
      return;
    } catch (error) {
      const isInUse = error instanceof DatabaseError && error.code === LOCK_NOT_AVAILABLE;
      if (!isInUse) throw error;
      if (attempt === SWAP_ATTEMPTS) {
        throw new Error(
          'A statement on the ledger kept its boundaries from being moved; the next run moves them.',
          {
            cause: error,
          },
        );
      }
      await delay(SWAP_REST_MS);
    }
  }
}
