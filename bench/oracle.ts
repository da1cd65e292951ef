// Judges the ledger after the load: what was acknowledged is there, once, and nothing else is.
import type pg from 'pg';
import type { LoadResult } from './load.ts';

const FAULTS_MAX = 20;
const VIEWS = ['invariant_i1_balance', 'invariant_i1_chain', 'invariant_i2_negative', 'invariant_i6_keys'];

/** Of a load: what was acknowledged, and what went wrong. */
type Judged = Pick<LoadResult, 'taken' | 'faults' | 'refused'>;

/** @returns what is wrong, in words; empty for a sound ledger */
export async function judge(
  client: pg.Client,
  { loads, tokens }: { loads: readonly Judged[]; tokens: number },
): Promise<string[]> {
  const faults = loads.flatMap(({ faults: found, refused }) => [
    ...found,
    ...Object.entries(refused).map(([status, count]) => `${count} requests were answered with ${status}`),
  ]);
  const taken = new Map<string, number>();
  for (const load of loads) {
    load.taken.forEach((count, n) => {
      if (count > 0) taken.set(`user-${n}`, (taken.get(`user-${n}`) ?? 0) + count);
    });
  }
  const { rows } = await client.query<{ id: string; used: string; entries: string }>(
    `select id, coalesce(used, 0) as used, coalesce(entries, 0) as entries from users left join
       (select user_id, count(*) as entries, -sum(tokens) as used from ledger_entries
        where type = 'consumed' and request_id is not null group by user_id) e on e.user_id = id`,
  );
  for (const { id, used, entries } of rows) {
    const expected = taken.get(id) ?? 0;
    if (Number(entries) !== expected || Number(used) !== expected * tokens) {
      faults.push(
        `${id}: ${expected} consumes of ${tokens} were acknowledged, ${entries} entries and ${used} tokens are there`,
      );
    }
  }
  for (const view of VIEWS) {
    const { rows: violations } = await client.query(
      `select user_id, detail from ${view} limit ${FAULTS_MAX}`,
    );
    faults.push(...violations.map(({ user_id: userId, detail }) => `${view}: ${userId}: ${detail}`));
  }
  return faults.slice(0, FAULTS_MAX);
}
