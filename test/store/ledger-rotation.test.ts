// The boundaries between the parts of the ledger move, and nothing that anybody sees does: keys, pages, sums.
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { refund } from '../../src/lib/refunds.ts';
import { signUp } from '../../src/lib/users.ts';
import { entryIdOf } from '../../src/store/ids.ts';
import { findViolations } from '../../src/store/invariants.ts';
import { findEntry, findEntryByKey, listEntries } from '../../src/store/ledger.ts';
import { boundariesAt, rotateLedger } from '../../src/store/ledger-rotation.ts';
import { doors } from '../support/doors.ts';
import { type Library, openLibrary } from '../support/library.ts';
import { request } from '../support/request.ts';

const MONTHS = ['2026-02-10', '2026-03-10', '2026-04-10', '2026-04-20'].map((day) => `${day}T12:00:00.000Z`);
const NOW = '2026-04-22T12:00:00.000Z';
const USER = 'rotated';

let library: Library;
beforeEach(async () => {
  library = await openLibrary();
  await signUp(library.context, { userId: USER });
});
afterEach(() => library.close());

const url = (): string => library.context.config.databaseUrl;
const rotate = (now = NOW) => rotateLedger(url(), new Date(now));

/** Consumes one token at each of the times, through each door. */
async function spendOverTime(): Promise<void> {
  for (const [n, time] of MONTHS.entries()) {
    library.setTime(time);
    for (const [name, door] of doors) {
      await door(library.context, { userId: USER, tokens: 1 }, request(`${name} ${n}`));
    }
  }
  library.setTime(NOW);
}

async function indexes(): Promise<string[]> {
  const { rows } = await library.context.pool.query<{ name: string }>(
    `select relname as name from pg_index join pg_class on pg_class.oid = indexrelid
     where indrelid = 'ledger_entries'::regclass and relname ~ '^ledger_entries_(key|seq)_' order by 1`,
  );
  return rows.map(({ name }) => name);
}

const PARTS = ['from_20260401_until_20260420', 'from_20260420', 'until_20260401'];
const INDEXES = ['key', 'seq'].flatMap((kind) => PARTS.map((part) => `ledger_entries_${kind}_${part}`));

/** That every key has its one effect, is found, and gets its first answer again through every door. */
async function expectKeysKept(): Promise<void> {
  const { pool } = library.context;
  const count = async () => (await pool.query('select from ledger_entries')).rowCount;
  const before = await count();
  for (const [n] of MONTHS.entries()) {
    for (const [name] of doors) {
      const key = `${name} ${n}`;
      expect(await findEntryByKey(pool, USER, `consume:${key}`), key).toMatchObject({ tokens: -1 });
      for (const [, door] of doors) {
        const answer = await door(library.context, { userId: USER, tokens: 1 }, request(key));
        expect(answer.replayed, key).toBe(true);
      }
      const other = request(key, { other: true });
      for (const [, door] of doors) {
        await expect(door(library.context, { userId: USER, tokens: 1 }, other), key).rejects.toThrow(
          expect.objectContaining({ code: 'idempotency_key_reused' }),
        );
      }
    }
  }
  expect(await count()).toBe(before);
  expect(await findViolations(pool)).toEqual([]);
}

describe('a rotation', () => {
  it('leaves every key its one effect, in each part, and a second one in the same week does nothing', async () => {
    await spendOverTime();
    expect(await rotate()).toMatchObject({ boundaries: ['2026-04-20', '2026-04-01'] });
    expect(await indexes()).toEqual(INDEXES);
    await expectKeysKept();
    expect(await rotate()).toMatchObject({ createdIndexes: [], droppedIndexes: [] });
    expect(await rotate('2026-05-26T00:00:00.000Z')).toMatchObject({
      boundaries: ['2026-05-25', '2026-05-01'],
    });
    expect(await indexes()).toHaveLength(6);
    await expectKeysKept();
  });

  it('makes only the indexes of the parts that change', async () => {
    await rotate('2026-04-15T12:00:00.000Z');
    expect(await rotate()).toMatchObject({
      createdIndexes: INDEXES.filter((name) => !name.includes('_until_20260401')).sort(byPart),
    });
    expect(await indexes()).toEqual(INDEXES);
  });

  it('leaves a page of the ledger in order across the parts', async () => {
    await spendOverTime();
    const { pool } = library.context;
    const all = await listEntries(pool, USER, { beforeSeq: Number.MAX_SAFE_INTEGER, limit: 100 });
    await rotate();
    const paged = [];
    for (let beforeSeq = Number.MAX_SAFE_INTEGER; ; ) {
      const page = await listEntries(pool, USER, { beforeSeq, limit: 3 });
      if (page.length === 0) break;
      paged.push(...page);
      beforeSeq = page.at(-1)?.seq ?? 0;
    }
    expect(paged.length).toBeGreaterThan(MONTHS.length * doors.length);
    expect(paged).toEqual(all);
    for (const entry of all) expect(await findEntry(pool, USER, entry.seq)).toEqual(entry);
  });

  it('does not let a key of a refund come again, whoever asks', async () => {
    await spendOverTime();
    const { context } = library;
    const entries = await listEntries(context.pool, USER, { beforeSeq: Number.MAX_SAFE_INTEGER, limit: 100 });
    const [last, first] = entries.filter(({ type }) => type === 'consumed').map(({ seq }) => seq);
    const giveBack = (seq = 0, scope = 'test') =>
      refund(context, { entryId: entryIdOf(USER, seq), reason: 'test' }, { ...request('back'), scope });
    expect(await giveBack(last)).toMatchObject({ replayed: false });
    await rotate('2026-05-26T00:00:00.000Z');
    library.setTime('2026-05-26T12:00:00.000Z');
    expect(await giveBack(last)).toMatchObject({ replayed: true });
    await expect(giveBack(first, 'another')).rejects.toThrow('has an entry');
    expect(await findViolations(context.pool)).toEqual([]);
  });

  it('does not lose an entry whose time is before the newest part', async () => {
    await rotate();
    library.setTime('2026-03-15T00:00:00.000Z');
    for (const [name, door] of doors) {
      const late = () => door(library.context, { userId: USER, tokens: 1 }, request(`late ${name}`));
      expect((await late()).replayed).toBe(false);
      expect((await late()).replayed).toBe(true);
    }
    expect(await findViolations(library.context.pool)).toEqual([]);
  });

  it('never goes back, whatever the clock says', async () => {
    await rotate();
    expect(await rotate('2026-03-01T00:00:00.000Z')).toMatchObject({ createdIndexes: [] });
    expect(await indexes()).toEqual(INDEXES);
  });

  it('of the job divides nothing that is small, and mends what an earlier one has left', async () => {
    await spendOverTime();
    const small = { entriesMin: 1_000 };
    expect(await rotateLedger(url(), new Date(NOW), small)).toEqual({
      boundaries: [],
      createdIndexes: [],
      droppedIndexes: [],
    });
    await rotate();
    await library.context.pool.query('drop index ledger_entries_seq_until_20260401');
    const later = new Date('2026-05-26T00:00:00.000Z');
    expect(await rotateLedger(url(), later, small)).toMatchObject({
      boundaries: ['2026-04-20', '2026-04-01'],
      createdIndexes: ['ledger_entries_seq_until_20260401'],
    });
  });

  it('is left to the process that is at it', async () => {
    const other = await library.context.pool.connect();
    await other.query(`select pg_advisory_lock(hashtextextended('tollgate:rotate-ledger', 0))`);
    expect(await rotate()).toBeUndefined();
    other.release(true);
  });
});

describe('a rotation that dies', () => {
  it('before any one of its steps leaves a right ledger, and the next one ends it', async () => {
    await spendOverTime();
    let isCutOff = true;
    for (let step = 1; isCutOff; step++) {
      const week = new Date(Date.parse(NOW) + step * 7 * 86_400_000);
      isCutOff = await diesBefore(step, week);
      await expectKeysKept();
      await rotateLedger(url(), week);
      const { rows } = await library.context.pool.query(
        `select name from ledger_indexes(ledger_boundaries()) order by 1`,
      );
      expect(await indexes()).toEqual(rows.map(({ name }) => name));
      expect((await rotateLedger(url(), week))?.boundaries).toEqual(boundariesAt(week));
      await expectKeysKept();
      if (!isCutOff) expect(step).toBeGreaterThan(8);
    }
  });

  it('while it makes an index leaves it unused, and the next one makes it anew', async () => {
    await spendOverTime();
    const { pool } = library.context;
    const writer = await pool.connect();
    await writer.query('begin');
    await writer.query('lock table ledger_entries in row exclusive mode');
    const rotation = rotate().catch((error: Error) => error);
    const waits = `from pg_stat_activity where query like 'create%index concurrently%' and wait_event_type = 'Lock'
      and datname = current_database()`;
    await expect.poll(async () => (await pool.query(`select ${waits}`)).rowCount).toBe(1);
    await pool.query(`select pg_terminate_backend(pid) ${waits}`);
    expect(await rotation).toBeInstanceOf(Error);
    await writer.query('rollback');
    writer.release();
    const invalid = async () => (await pool.query('select from pg_index where not indisvalid')).rowCount;
    expect(await invalid()).toBe(1);
    await expectKeysKept();
    expect((await rotate())?.createdIndexes).toHaveLength(6);
    expect(await invalid()).toBe(0);
    await expectKeysKept();
  });
});

describe('consumes beside a rotation', () => {
  it('take each key once, before, while and after the boundaries move', async () => {
    const { context } = library;
    await spendOverTime();
    const before = await context.pool.query('select from ledger_entries');
    let isRotating = true;
    let keys = 0;
    const spending = doors.map(async ([name, door]) => {
      for (let n = 0; isRotating; n++, keys++) {
        const one = () => door(context, { userId: USER, tokens: 1 }, request(`beside ${name} ${n}`));
        const answers = [await one(), ...(await Promise.all([one(), one()]))];
        expect(answers.map(({ replayed }) => replayed)).toEqual([false, true, true]);
      }
    });
    for (const time of ['2026-04-22', '2026-04-27', '2026-05-05']) await rotate(`${time}T12:00:00.000Z`);
    isRotating = false;
    await Promise.all(spending);
    const after = await context.pool.query('select from ledger_entries');
    expect(keys).toBeGreaterThan(10);
    expect(Number(after.rowCount) - Number(before.rowCount)).toBe(keys);
    await expectKeysKept();
  });

  it('go on while a long report keeps the boundaries from moving', async () => {
    const { context } = library;
    const report = await context.pool.connect();
    await report.query('begin; select count(*) from ledger');
    const rotation = rotate();
    const waits = `select from pg_stat_activity where query like '%lock_timeout%' and wait_event_type = 'Lock'
      and datname = current_database()`;
    await expect.poll(async () => (await context.pool.query(waits)).rowCount, { interval: 10 }).toBe(1);
    for (const [name, door] of doors) await door(context, { userId: USER, tokens: 1 }, request(name));
    await report.query('commit');
    report.release();
    expect((await rotation)?.boundaries).toEqual(['2026-04-20', '2026-04-01']);
  });
});

it('the newest parts begin with the week, and with the month in which it began', () => {
  const cases: [now: string, boundaries: string[]][] = [
    ['2026-04-20T00:00:00.000Z', ['2026-04-20', '2026-04-01']],
    ['2026-04-26T23:59:59.999Z', ['2026-04-20', '2026-04-01']],
    ['2026-05-02T00:00:00.000Z', ['2026-04-27', '2026-04-01']],
    ['2026-06-03T00:00:00.000Z', ['2026-06-01']],
    ['2027-01-01T00:00:00.000Z', ['2026-12-28', '2026-12-01']],
  ];
  for (const [now, boundaries] of cases) expect(boundariesAt(new Date(now)), now).toEqual(boundaries);
});

const byPart = (a: string, b: string): number => INDEX_ORDER.indexOf(a) - INDEX_ORDER.indexOf(b);
const INDEX_ORDER = ['from_20260420', 'from_20260401_until_20260420', 'until_20260401'].flatMap((part) =>
  ['key', 'seq'].map((kind) => `ledger_entries_${kind}_${part}`),
);

/** @returns whether the rotation had that many steps: statements that change something */
async function diesBefore(step: number, now: Date): Promise<boolean> {
  const { query } = pg.Client.prototype;
  const { pool } = library.context;
  let steps = 0;
  pg.Client.prototype.query = async function (this: pg.Client & { processID: number }, ...input: unknown[]) {
    const isStep = /^(create .*index|drop index|set local)/.test(String(input[0]));
    if (isStep && ++steps === step) {
      await pool.query('select pg_terminate_backend($1, 5000)', [this.processID]);
    }
    return Reflect.apply(query, this, input);
  } as typeof query;
  try {
    await rotateLedger(url(), now);
    return false;
  } catch {
    return true;
  } finally {
    pg.Client.prototype.query = query;
  }
}
