import { expect, it } from 'vitest';
import { bucketOf } from '../../src/store/bucket.ts';
import { bucketOfRowId, newId, newUserRowId } from '../../src/store/ids.ts';

it('ids sort by when they were made, those of one millisecond too, and none comes twice', () => {
  // More than a pool of random bytes is for, and many in each millisecond.
  const ids = Array.from({ length: 20_000 }, () => newId('gr'));
  expect(new Set(ids).size).toBe(ids.length);
  expect([...ids].sort()).toEqual(ids);
  // RFC 9562: version 7, variant 10.
  for (const id of ids) expect(id).toMatch(/^gr_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
});

it('an id of a row of a user tells its bucket', () => {
  expect(bucketOfRowId('gr', newUserRowId('gr', 'ada'))).toBe(bucketOf('ada'));
});
