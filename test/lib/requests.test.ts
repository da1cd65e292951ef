// Hashes of requests stand in ledgers and are compared with those of repeats that come after an update of Tollgate.
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { requestHash } from '../../src/lib/requests.ts';

const hex = (...parts: unknown[]): string => requestHash(...parts).toString('hex');

describe('the hash of a request', () => {
  it('is the one that earlier versions have written into ledgers', () => {
    expect(hex('POST /v1/credits/consume', {}, { userId: 'user-1', tokens: 10 })).toBe(
      '82bea90103ebf7545ee9d4068cff0cf7',
    );
    expect(hex({ b: 1, a: 'x', c: [true, null, -0, 1.5e300] })).toBe('f3e65a7f54faa24017e763c70d917b52');
    const texts = ['"', '\\', '\n\0\x1f\x7f', 'é', '😀', '\ud800', '', ' ', '~', '[]', '</script>\u2028'];
    expect(hex(...texts)).toBe('1569485f90d4fe8b595a119ce3c3b4d8');
    const names = { 'a"b': 1, é: 2, '': 3, 'x\\': { y: undefined, z: new Date(0) } };
    expect(hex(names)).toBe('acde4f3d14e4019fa19d3a004f625e30');
  });

  it('is that of its JSON, whatever characters its texts and names have', () => {
    for (let code = 0; code < 0x3000; code++) {
      const text = `a${String.fromCharCode(code)}b`;
      const json = JSON.stringify([{ [text]: text }]);
      const expected = createHash('sha256').update(json).digest('hex').slice(0, 32);
      expect(hex({ [text]: text }), `character ${code}`).toBe(expected);
    }
  });

  it('does not depend on the order of the fields, and does on all else', () => {
    expect(hex({ a: 1, b: { c: 2, d: 3 } })).toBe(hex({ b: { d: 3, c: 2 }, a: 1 }));
    const others = [{ a: 1, b: 2 }, { a: 1 }, { a: '1', b: 2 }, { a: 2, b: 1 }, { ab: 12 }, [1, 2], ['1', 2]];
    expect(new Set(others.map((other) => hex(other))).size).toBe(others.length);
  });
});
