// kill -9 of the API or of PostgreSQL at a random moment under load: what was acknowledged is there, what was not may
// be asked for again with its key, and nothing is there twice. KILL_ROUNDS for a long night.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Bed, type Database, type Server } from '../../bench/bed.ts';

const ROUNDS = Number(process.env.KILL_ROUNDS ?? 3);
const USERS = 20;
const CLIENTS = 24;
const TOKENS = 7;
const ANSWERS_MIN = 2 * CLIENTS;
/** Long enough for a few dozen batches before the blow. */
const BLOW_AFTER_MS_MAX = 400;

let bed: Bed;
let database: Database;
let server: Server;
beforeAll(async () => {
  const scale = { users: USERS, connections: 1, seconds: 1, rounds: 1, entries: 1, due: 1, consumes: 1 };
  bed = await Bed.open(scale);
  database = await bed.database();
  server = await bed.server('consume', database);
});
afterAll(() => bed.close());

interface Consume {
  userId: string;
  key: string;
}

/** @returns the entry's id; undefined where no answer came, or one that says to try again */
async function consume({ userId, key }: Consume): Promise<string | undefined> {
  const headers = {
    authorization: `Bearer ${server.apiKey}`,
    'content-type': 'application/json',
    'idempotency-key': key,
  };
  const body = JSON.stringify({ userId, tokens: TOKENS });
  let response: Response;
  try {
    response = await fetch(`http://127.0.0.1:${server.port}/v1/credits/consume`, {
      method: 'POST',
      headers,
      body,
    });
    const answer = (await response.json()) as { entryId: string };
    if (response.status === 200) return answer.entryId;
  } catch {
    return undefined;
  }
  if (response.status !== 503) {
    await delay(500);
    expect.fail(`answered with ${response.status}: ${bed.failures().slice(-3).join('\n')}`);
  }
  return undefined;
}

/**
 * Clients that go on until one has no answer; each tells what it asked for.
 * @param onAnswer called for each that was acknowledged
 */
async function load(
  acknowledged: Map<string, string>,
  asked: Consume[],
  onAnswer: () => void,
): Promise<void> {
  const client = async (): Promise<void> => {
    for (;;) {
      const wanted = { userId: `user-${Math.floor(Math.random() * USERS)}`, key: randomUUID() };
      asked.push(wanted);
      const entryId = await consume(wanted);
      if (entryId === undefined) return;
      acknowledged.set(wanted.key, entryId);
      onAnswer();
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
}

async function untilAnswered(wanted: Consume): Promise<string> {
  for (;;) {
    const entryId = await consume(wanted);
    if (entryId !== undefined) return entryId;
    await delay(50);
  }
}

test(
  `no acknowledged consume is missing and none is doubled, in ${ROUNDS} rounds`,
  async () => {
    const acknowledged = new Map<string, string>();
    const asked: Consume[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      let answers = 0;
      let clients = Promise.resolve();
      // Under load for certain, on a slow machine as well; after that at any moment.
      await new Promise<void>((resolve) => {
        clients = load(acknowledged, asked, () => ++answers === ANSWERS_MIN && resolve());
      });
      await delay(Math.random() * BLOW_AFTER_MS_MAX);
      if (round % 2 === 0) {
        await server.kill();
        await clients;
        server = await bed.server('consume', database);
      } else {
        await bed.killDatabase();
        await clients;
      }
      for (const wanted of asked.filter(({ key }) => !acknowledged.has(key))) {
        acknowledged.set(wanted.key, await untilAnswered(wanted));
      }
    }
    // Each of them again: the first answer, and no second effect.
    for (const wanted of asked) expect(await untilAnswered(wanted)).toBe(acknowledged.get(wanted.key));

    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const { rows } = await client.query<{ id: string; used: string; keys: string[] }>(
      `select u.id, u.total_tokens_used as used, array_agg(e.key) as keys
       from users u join ledger_entries e on e.user_id = u.id and e.type = 'consumed' group by u.bucket, u.id`,
    );
    for (const { id, used, keys } of rows) {
      const wanted = asked.filter(({ userId }) => userId === id).map(({ key }) => `consume:${key}`);
      expect(keys.sort()).toEqual(wanted.sort());
      expect(Number(used)).toBe(wanted.length * TOKENS);
    }
    for (const view of [
      'invariant_i1_balance',
      'invariant_i1_chain',
      'invariant_i3_grants',
      'invariant_i6_keys',
    ]) {
      expect((await client.query(`select * from ${view}`)).rows, view).toEqual([]);
    }
    const deadlocks = await client.query<{ deadlocks: string }>(
      'select sum(deadlocks) as deadlocks from pg_stat_database',
    );
    expect(Number(deadlocks.rows[0]?.deadlocks)).toBe(0);
    await client.end();
  },
  ROUNDS * 60_000,
);
