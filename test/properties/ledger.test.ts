// The ledger against a naive model, on a real database: any history of grants, consumes, refunds, holds, voids,
// resets and plan changes ends in the same balances, and every invariant holds after every step.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { signUp } from '../../src/lib/users.ts';
import { bothDoors, type Doors, together } from '../support/doors.ts';
import { type Library, openLibrary } from '../support/library.ts';
import { announceSeed } from '../support/seed.ts';
import { commands, History } from './history.ts';

/** LEDGER_RUNS for a long night; CI keeps to the number that the README promises. */
const RUNS = Number(process.env.LEDGER_RUNS ?? 2_000);
const LANES = 6;
const ways: [name: string, doors: Doors, isDistributed: boolean, runs: number][] = [
  ...bothDoors.map(([name, doors]): [string, Doors, boolean, number] => [name, doors, false, RUNS / 2]),
  ['together with those of one bucket', together, true, RUNS / 10],
];

describe.each(ways)('the ledger, its changes decided %s,', (name, doors, isDistributed, runs) => {
  let library: Library;
  beforeAll(async () => {
    library = await openLibrary({ maxConnections: LANES + 2, isDistributed });
  });
  afterAll(() => library.close());

  it(
    `equals the model and holds every invariant after each of up to 60 commands, over ${runs} histories`,
    async () => {
      const seed = announceSeed(`ledger model, changes ${name}`);
      let steps = 0;
      const histories = fc.asyncProperty(fc.array(commands, { maxLength: 60, size: 'max' }), async (list) => {
        const history = new History(library, doors);
        await signUp(history.context, { userId: history.userId });
        for (const command of list) {
          await history.run(command);
          await history.check();
          steps++;
        }
      });
      const perLane = Math.ceil(runs / LANES);
      const lanes = Array.from({ length: LANES }, (_, lane) =>
        fc.assert(histories, { seed: seed + lane, numRuns: perLane, endOnFailure: false }),
      );
      await Promise.all(lanes);
      process.stdout.write(
        `ledger model, changes ${name}: ${LANES * perLane} histories, ${steps} commands\n`,
      );
    },
    20 * 60_000,
  );
});
