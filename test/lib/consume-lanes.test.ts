// Which batches go out, and when, where the database wants one bucket in each. The database here only notes what it is
// asked and answers when it is told to; test/lib/consume-batcher.test.ts has a real one.
import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { ConsumeBatcher } from '../../src/lib/consume-batcher.ts';
import { bucketOf } from '../../src/store/bucket.ts';

const AT_ONCE = 6;

interface Asked {
  bucket: number;
  users: string[];
  answer(): void;
}

/** Lets what is ready run: a batch takes a turn of the event loop to gather, and one to be answered. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await turnOfEventLoop();
}

function open() {
  const asked: Asked[] = [];
  const query = async (statement: string | { values: unknown[] }) => {
    if (typeof statement === 'string') return { rows: [{ lanes: 1024 }] };
    const [bucket, buckets, users] = statement.values as [number, number[], string[]];
    expect(buckets.every((each) => each === bucket)).toBe(true);
    expect(users.map(bucketOf)).toEqual(buckets);
    await new Promise<void>((resolve) => asked.push({ bucket, users, answer: resolve }));
    return { rows: users.map(() => ({ o_outcome: 'reused' })) };
  };
  const batcher = new ConsumeBatcher({ query } as never);
  let keys = 0;
  const decide = (userId: string) =>
    batcher.decide(
      {
        userId,
        key: `key-${keys++}`,
        tokens: 1,
        requestHash: Buffer.alloc(16),
        feature: null,
        metadata: null,
        requestId: null,
        now: new Date(0),
      },
      () => Promise.reject(new Error('not asked for')),
    );
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

it('a bucket that asks without end keeps no other waiting', async () => {
  const { asked, decide } = open();
  void decide('busy');
  await settle();
  const others = Array.from({ length: 40 }, (_, n) => `other-${n}`);
  for (const userId of others) void decide(userId);
  const seen = new Set<string>();
  for (let n = 0; n < 40; n++) {
    await settle();
    void decide('busy');
    for (const { users, answer } of asked) {
      for (const userId of users) seen.add(userId);
      answer();
    }
  }
  expect(others.filter((userId) => !seen.has(userId))).toEqual([]);
});
