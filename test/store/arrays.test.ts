// Values that go to the database as arrays, and times that come from it, are the same on both sides.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NEVER } from '../../src/domain/roll.ts';
import { arrayOf, type ColumnType } from '../../src/store/arrays.ts';
import { type Library, openLibrary } from '../support/library.ts';
import { announceSeed } from '../support/seed.ts';

let library: Library;
beforeAll(async () => {
  library = await openLibrary();
});
afterAll(() => library.close());

const times = fc.date({ min: new Date('0001-01-01'), max: new Date('9999-12-31'), noInvalidDate: true });
/** PostgreSQL has no character 0. */
const texts = fc
  .oneof(fc.string({ unit: 'binary' }), fc.constantFrom('', 'NULL', '{"a, b"}', '\\'))
  .map((text) => text.replaceAll('\0', ' '));
const json = fc.record({ text: texts, n: fc.option(fc.integer()), list: fc.array(texts) });

const VALUES: [ColumnType, fc.Arbitrary<unknown>][] = [
  ['bigint', fc.oneof(fc.maxSafeInteger(), fc.integer())],
  ['smallint', fc.integer({ min: -32_768, max: 32_767 })],
  ['timestamptz', fc.oneof(times, fc.constant(NEVER))],
  ['text', texts],
  ['boolean', fc.boolean()],
  ['jsonb', json],
  ['bytea', fc.uint8Array().map((bytes) => Buffer.from(bytes))],
  ['entry_type', fc.constantFrom('granted', 'voided')],
];

describe.each(VALUES)('an array of %s', (type, arbitrary) => {
  it('says in the database what it said here, nulls among them', async () => {
    const same = async (values: unknown[]): Promise<void> => {
      const { rows } = await library.context.pool.query(
        `select value from unnest($1::int[], $2::${type}[]) as r(n, value) order by n`,
        [values.map((_, n) => n), arrayOf(type, values, (value) => value)],
      );
      expect(rows.map(({ value }) => value)).toEqual(values);
    };
    await fc.assert(fc.asyncProperty(fc.array(fc.option(arbitrary), { minLength: 1 }), same), {
      seed: announceSeed(`array of ${type}`),
      numRuns: 30,
    });
  });
});
