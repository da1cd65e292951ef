import { expect, it } from 'vitest';
import { HeldUsers } from '../../src/lib/held-users.ts';

it('who is in several batches in a row is let go by the last of them, and only for what is not in that row', () => {
  const held = new HeldUsers<string>();
  held.hold('ada', true);
  held.hold('ada', true);
  expect(held.mustWait('ada', true)).toBe(false);
  expect(held.mustWait('ada', false)).toBe(true);
  held.wait('ada', 'whole batch');
  expect(held.letGo('ada', true)).toEqual([]);
  expect(held.mustWait('ada', false)).toBe(true);
  expect(held.letGo('ada', true)).toEqual(['whole batch']);
  expect(held.mustWait('ada', false)).toBe(false);
});

it('who is decided apart twice waits for both, whatever else lets go meanwhile', () => {
  const held = new HeldUsers<string>();
  for (const isInOrder of [true, false, false]) held.hold('ada', isInOrder);
  held.letGo('ada', true);
  held.wait('ada', 'next');
  expect(held.letGo('ada', false)).toEqual([]);
  expect(held.mustWait('ada', true)).toBe(true);
  expect(held.letGo('ada', false)).toEqual(['next']);
  expect(held.mustWait('ada', true)).toBe(false);
});
