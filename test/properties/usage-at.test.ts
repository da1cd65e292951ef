// `usage?at=` tells what somebody who had asked then would have been told, whatever has happened since.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readUsageAt, type UsageAt } from '../../src/lib/usage-at.ts';
import { readUsage, type ServiceUsage, signUp } from '../../src/lib/users.ts';
import { type Library, openLibrary } from '../support/library.ts';
import { announceSeed } from '../support/seed.ts';
import { commands, History } from './history.ts';

const RUNS = 80;
const DAY = 86_400_000;

let library: Library;
beforeAll(async () => {
  library = await openLibrary();
});
afterAll(() => library.close());

const balanceOf = (usage: Omit<UsageAt, 'at' | 'debtTokens'>) => ({
  credits: usage.credits,
  availableTokens: usage.availableTokens,
  heldTokens: usage.heldTokens,
  totalTokensUsed: usage.totalTokensUsed,
  byGrant: Object.fromEntries(
    usage.balances.map(({ grantId, source, remainingTokens }) => [grantId, [source, remainingTokens]]),
  ),
});

describe('usage?at=', () => {
  it(`is what was noted at each instant of a random history, over ${RUNS} histories`, async () => {
    let compared = 0;
    const property = fc.asyncProperty(fc.array(commands, { maxLength: 40, size: 'max' }), async (list) => {
      const history = new History(library);
      const { context, userId, model } = history;
      await signUp(context, { userId });
      const noted = new Map<number, ServiceUsage>();
      for (const command of list) {
        noted.set(model.now, await readUsage(context, userId));
        model.advance(model.now + 1);
        await history.run(command);
      }
      noted.set(model.now, await readUsage(context, userId));
      for (const [at, usage] of noted) {
        const then = await readUsageAt(context, userId, new Date(at));
        expect(balanceOf(then)).toEqual(balanceOf(usage));
        compared++;
      }
    });
    await fc.assert(property, { seed: announceSeed('usage at'), numRuns: RUNS, endOnFailure: false });
    process.stdout.write(`usage at: ${compared} instants\n`);
  }, 300_000);

  it('knows the months in which nobody looked', async () => {
    const start = Date.UTC(2027, 0, 10);
    let now = start;
    const context = library.with({ now: () => new Date(now) });
    await signUp(context, { userId: 'away' });
    now = start + 100 * DAY;
    const [first, second] = await Promise.all(
      [10, 40].map((day) => readUsageAt(context, 'away', new Date(start + day * DAY))),
    );
    expect([first?.availableTokens, second?.availableTokens]).toEqual([10_000, 10_000]);
    expect(first?.balances[0]?.grantId).not.toBe(second?.balances[0]?.grantId);
  });
});
