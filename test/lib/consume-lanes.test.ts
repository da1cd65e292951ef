// Which batches go out, and when. The database here only notes what it is asked and answers when it is told to;
// test/lib/consume-batcher.test.ts has a real one.
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { ConsumeBatcher } from '../../src/lib/consume-batcher.ts';
import { bucketOf } from '../../src/store/bucket.ts';
import type { Decision } from '../../src/store/consume-batch.ts';

const AT_ONCE = 6;

interface Asked {
  bucket: number | null;
  users: string[];
  keys: string[];
  answer(): void;
}

/** Lets what is ready run: a batch takes a turn of the event loop to gather, and one to be answered. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await turnOfEventLoop();
}

const requestOf = (userId: string, key: string) => ({
  userId,
  key,
  tokens: 1,
  requestHash: Buffer.alloc(16),
  feature: null,
  metadata: null,
  requestId: null,
  now: new Date(0),
  decideOtherwise: () => Promise.reject(new Error('not asked for')),
});

/** Of this user nothing is decided. */
const UNDECIDED = 'undecided';

/** As `consume_batch` gives it: columns of entries, of which there are none, and answers in full with their places. */
function answerOf(users: readonly string[]) {
  const places = users.flatMap((userId, index) => (userId === UNDECIDED ? [] : [index + 1]));
  const reused = places.map(() => ({ outcome: 'reused' }));
  return { rows: [[[null, null, null, null, null, null, places, reused]]] };
}

/** What is in an array of texts and in one of numbers as store/arrays.ts sends them. */
function textsIn(array: unknown): string[] {
  const bytes = array as Buffer;
  const texts: string[] = [];
  for (let at = 20; at < bytes.length; at += 4 + bytes.readInt32BE(at)) {
    texts.push(bytes.toString('utf8', at + 4, at + 4 + bytes.readInt32BE(at)));
  }
  return texts;
}
const numbersIn = (array: unknown): number[] => JSON.parse(`[${String(array).slice(1, -1)}]`);

function databaseOf(lanes: number) {
  const asked: Asked[] = [];
  const query = async (statement: string | { values: unknown[] }) => {
    if (typeof statement === 'string') return { rows: [{ lanes }] };
    const bucket = statement.values[0] as number | null;
    const [buckets, users] = [numbersIn(statement.values[1]), textsIn(statement.values[2])];
    const keys = textsIn(statement.values[3]);
    if (bucket !== null) expect(buckets.every((each) => each === bucket)).toBe(true);
    expect(users.map(bucketOf)).toEqual(buckets);
    expect(users).not.toEqual([]);
    await new Promise<void>((resolve) => asked.push({ bucket, users, keys, answer: resolve }));
    return answerOf(users);
  };
  return { asked, query };
}

function open({ lanes = 1024 } = {}) {
  const { asked, query } = databaseOf(lanes);
  const batcher = new ConsumeBatcher({ query } as never);
  let keys = 0;
  const decide = (userId: string) => batcher.decide(requestOf(userId, `key-${keys++}`));
  return { asked, decide };
}

it('each batch is of one bucket, a bucket has one under way, and few are at once', async () => {
  const { asked, decide } = open();
  const userIds = Array.from({ length: 3_000 }, (_, n) => `user-${n % 1_000}`);
  const decisions = Promise.all(userIds.map(decide));
  await settle();
  let answered = 0;
  while (answered < asked.length) {
    const underWay = asked.slice(answered);
    expect(underWay.length).toBeLessThanOrEqual(AT_ONCE);
    expect(new Set(underWay.map(({ bucket }) => bucket)).size).toBe(underWay.length);
    for (const each of underWay) each.answer();
    answered += underWay.length;
    await settle();
  }
  expect(await decisions).toHaveLength(3_000);
  // What was asked of one bucket while others were under way went out together.
  expect(asked).toHaveLength(new Set(userIds.map(bucketOf)).size);
});

it('buckets with more than a batch waiting keep no other waiting', async () => {
  const { asked, decide } = open();
  const ofBuckets = new Map(Array.from({ length: 100 }, (_, n) => [bucketOf(`user-${n}`), `user-${n}`]));
  const [busy, others] = [[...ofBuckets.values()].slice(0, AT_ONCE), [...ofBuckets.values()].slice(AT_ONCE)];
  for (const userId of busy) for (let n = 0; n < 300; n++) void decide(userId);
  for (const userId of others) void decide(userId);
  await settle();
  for (let answered = 0; answered < asked.length; await settle()) asked[answered++]!.answer();
  const order = asked.map(({ users }) => users[0]);
  expect(order).toEqual([...busy, ...others, ...busy]);
});

it('a database that does not say how many lanes there are fails who has asked so far, and is asked again', async () => {
  let isAway = true;
  const query = async (statement: string | { values: unknown[] }) => {
    if (isAway) throw new Error('connection refused');
    if (typeof statement === 'string') return { rows: [{ lanes: 1 }] };
    expect(statement.values[0]).toBeNull();
    return answerOf(textsIn(statement.values[2]));
  };
  const batcher = new ConsumeBatcher({ query } as never);
  const decide = (userId: string) => batcher.decide(requestOf(userId, 'key'));
  const refused = await Promise.allSettled(['a', 'b'].map(decide));
  expect(refused.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  isAway = false;
  expect(await Promise.all(['a', 'b'].map(decide))).toEqual([{ outcome: 'reused' }, { outcome: 'reused' }]);
});

it('in one lane a second batch goes out once enough have gathered, and a third where a whole one waits', async () => {
  const { asked, decide } = open({ lanes: 1 });
  const from = (first: number, count: number) =>
    Array.from({ length: count }, (_, n) => decide(`user-${first + n}`));
  const decisions = from(0, 3);
  await settle();
  expect(asked.map(({ users }) => users.length)).toEqual([3]);
  decisions.push(...from(3, 15));
  await settle();
  expect(asked).toHaveLength(1);
  decisions.push(...from(18, 100));
  await settle();
  expect(asked).toHaveLength(2);
  decisions.push(...from(118, 500));
  await settle();
  // And no fourth.
  expect(asked.map(({ users }) => users.length).slice(2)).toEqual([200]);
  for (let answered = 0; answered < asked.length; await settle()) asked[answered++]!.answer();
  expect(await Promise.all(decisions)).toHaveLength(618);
  expect(asked.flatMap(({ users }) => users)).toHaveLength(618);
});

it('in one lane two batches share what waits, each user in one of them', async () => {
  const { asked, decide } = open({ lanes: 1 });
  const users = Array.from({ length: 60 }, (_, n) => ['hot', `user-${n}`]).flat();
  const decisions = Promise.all(users.map(decide));
  await settle();
  // All of the hot user are with the others of their half.
  expect(asked.map((each) => new Set(each.users).size)).toEqual([31, 30]);
  expect(asked.map((each) => each.users.filter((userId) => userId === 'hot').length)).toEqual([60, 0]);
  for (const each of asked) each.answer();
  expect(await decisions).toHaveLength(120);
});

it('a user is in one batch at a time: what comes meanwhile goes out together afterwards, in order', async () => {
  const { asked, decide } = open({ lanes: 1 });
  const decisions = [decide('hot')];
  await settle();
  for (let n = 0; n < 300; n++) decisions.push(decide('hot'));
  for (let n = 0; n < 40; n++) decisions.push(decide(`user-${n}`));
  await settle();
  // The others did not wait for the hot one.
  expect(asked.map(({ users }) => users.includes('hot'))).toEqual([true, false]);
  for (let answered = 0; answered < asked.length; await settle()) {
    const underWay = asked.slice(answered).flatMap(({ users }) => [...new Set(users)]);
    expect(new Set(underWay).size).toBe(underWay.length);
    asked[answered++]!.answer();
  }
  expect(await Promise.all(decisions)).toHaveLength(341);
  // The first alone, then as many as a batch has room for, then the rest.
  const ofHot = asked.map(({ users }) => users.filter((userId) => userId === 'hot').length);
  const sizes = ofHot.filter((count) => count > 0);
  expect(sizes).toHaveLength(3);
  expect(sizes.reduce((sum, size) => sum + size)).toBe(301);
});

/** On one lane, with a connection for batches in a row; what a flush takes is known. */
async function openInARow({ flushMs }: { flushMs: number }) {
  const { asked, query } = databaseOf(1);
  const ask = async (statement: string | { values?: unknown[] }) => {
    if (typeof statement === 'string' || statement.values) return query(statement as { values: unknown[] });
    return { rows: [[flushMs]] };
  };
  const connection = { query: ask, on() {}, off() {}, release() {} };
  const batcher = new ConsumeBatcher({ query: ask, connect: async () => connection } as never);
  let keys = 0;
  const decide = (userId: string) => batcher.decide(requestOf(userId, `key-${keys++}`));
  const first = decide('first');
  await settle();
  asked.shift()?.answer();
  await first;
  return { asked, batcher, decide };
}

it.each([
  ['a user is in a batch and in the one that follows on its connection', 0.1, [32, 32]],
  ['a user is in one of two batches that go beside each other', 2, [64]],
])('in one lane %s', async (_, flushMs, sizes) => {
  const { asked, decide } = await openInARow({ flushMs });
  const decisions = Promise.all(Array.from({ length: 64 }, () => decide('hot')));
  await settle();
  expect(asked.map(({ users }) => users.length)).toEqual(sizes);
  // A whole batch goes beside them, on a connection of its own, and its user would be locked.
  const more = Array.from({ length: 250 }, (_, n) => decide(n % 2 === 0 ? 'hot' : `user-${n}`));
  await settle();
  const beside = asked.slice(sizes.length).flatMap(({ users }) => users);
  expect(beside).not.toContain('hot');
  for (let answered = 0; answered < asked.length; await settle()) asked[answered++]?.answer();
  expect(await decisions).toHaveLength(64);
  expect(await Promise.all(more)).toHaveLength(250);
});

it('in a row, requests of one user are decided in the order in which they came, a whole batch of them as well', async () => {
  const { asked, decide } = await openInARow({ flushMs: 0.1 });
  const decisions = [decide('hot')];
  await settle();
  decisions.push(...Array.from({ length: 300 }, () => decide('hot')));
  await settle();
  for (let answered = 0; answered < asked.length; await settle()) asked[answered++]?.answer();
  expect(await Promise.all(decisions)).toHaveLength(301);
  expect(asked.flatMap(({ keys }) => keys)).toEqual(decisions.map((_, n) => `key-${n + 1}`));
});

it('in a row that goes on and on, a whole batch of its user has its turn', async () => {
  const { asked, decide } = await openInARow({ flushMs: 0.1 });
  const decisions: Promise<Decision>[] = [];
  const askFor = (count: number) => {
    for (let n = 0; n < count; n++) decisions.push(decide('hot'));
  };
  for (let batch = 0; batch < 2; batch++) {
    askFor(30);
    await settle();
  }
  expect(asked).toHaveLength(2);
  askFor(250);
  const whole = decisions.slice(60);
  let isDone = false;
  void Promise.all(whole).then(() => {
    isDone = true;
  });
  // As many clients do: whoever is answered asks again, and two batches are always under way.
  let answered = 0;
  for (; !isDone && answered < 20; await settle()) {
    const { users } = asked[answered] ?? { users: [] };
    asked[answered++]?.answer();
    await settle();
    askFor(Math.min(30, users.length));
  }
  expect(isDone).toBe(true);
  for (; answered < asked.length; await settle()) asked[answered++]?.answer();
  await Promise.all(decisions);
});

it('while a request is decided apart, what comes of its user waits, in a row or beside', async () => {
  for (const flushMs of [0.1, 2]) {
    const { asked, batcher, decide } = await openInARow({ flushMs });
    let end = (): void => {};
    const apart = new Promise<Decision>((resolve) => {
      end = () => resolve({ outcome: 'reused' });
    });
    const due = batcher.decide({ ...requestOf(UNDECIDED, 'due'), decideOtherwise: () => apart });
    await settle();
    asked.shift()?.answer();
    await settle();
    const next = decide(UNDECIDED);
    await settle();
    expect(asked).toEqual([]);
    end();
    await due;
    await settle();
    expect(asked.map(({ users }) => users)).toEqual([[UNDECIDED]]);
    asked.shift()?.answer();
    await expect(next).rejects.toThrow('not asked for');
  }
});

it('in one lane a batch follows the one before on its connection where a flush is short, and is sent beside it else', async () => {
  for (const { flushMs, expected } of [
    { flushMs: 0.1, expected: ['pipeline', 'pipeline', 'beside'] },
    { flushMs: 2, expected: ['beside', 'beside', 'beside'] },
  ]) {
    const sent: string[] = [];
    const decide = (way: string) => async (statement: { values: unknown[] }) => {
      sent.push(way);
      await settle();
      return answerOf(textsIn(statement.values[2]));
    };
    const ask = (way: string) => async (statement: string | { values?: unknown[] }) => {
      if (typeof statement === 'string') return { rows: [{ lanes: 1 }] };
      return statement.values ? decide(way)({ values: statement.values }) : { rows: [[flushMs]] };
    };
    const connection = { query: ask('pipeline'), on() {}, off() {}, release() {} };
    const batcher = new ConsumeBatcher({ query: ask('beside'), connect: async () => connection } as never);
    const all = (first: number, count: number) =>
      batcher.decideEach(Array.from({ length: count }, (_, n) => requestOf(`user-${first + n}`, 'key')));
    // What a flush takes is asked with the first batch.
    await all(0, 1);
    await settle();
    sent.length = 0;
    await all(0, 64);
    // A whole batch: it has work enough for a process of its own.
    await all(1_000, 400);
    expect(sent.slice(0, 3)).toEqual(expected);
  }
});
