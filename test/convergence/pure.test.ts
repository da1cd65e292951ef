// Promise 4, without I/O: any order, any repetition, any loss that is healed, any stale read of a history of Stripe ends
// in the plan, grants and balances of punctual news; I1 to I8 hold after every event. sim/ says how; a failure is told
// by `npm run sim -- --seed N`.
import { expect, it } from 'vitest';
import { convergeInParallel } from '../../sim/pure.ts';
import { announceSeed } from '../support/seed.ts';

/** CONVERGENCE_RUNS for a long night. */
const RUNS = Number(process.env.CONVERGENCE_RUNS ?? 20_000);

it(
  `${RUNS} histories end alike in order and in chaos`,
  async () => {
    const { failed, events, syncs } = await convergeInParallel({
      seed: announceSeed('convergence'),
      count: RUNS,
    });
    process.stdout.write(`convergence: ${RUNS} histories, ${events} events, ${syncs} syncs\n`);
    expect(failed).toEqual([]);
  },
  20 * 60_000,
);
