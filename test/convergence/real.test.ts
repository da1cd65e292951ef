// The same with everything real: the sandbox over HTTP, signatures, the webhook route, PostgreSQL, eight handlers at
// once and an API that fails. sim/real says how; `npm run sim -- --real --seed N --count N` repeats it.
import { expect, it } from 'vitest';
import { realBatch } from '../../sim/real/batch.ts';
import { createTestDatabase } from '../support/database.ts';
import { announceSeed } from '../support/seed.ts';

/** CONVERGENCE_REAL_RUNS=2000 for a long night: about 1.3 s each on two busy cores. */
const USERS = Number(process.env.CONVERGENCE_REAL_RUNS ?? 200);
const USERS_A_BATCH = 50;

it(
  `${USERS} customers end alike, told in order and in chaos`,
  async () => {
    const seed = announceSeed('real convergence');
    for (let done = 0; done < USERS; done += USERS_A_BATCH) {
      const databases = [await createTestDatabase(), await createTestDatabase()] as const;
      const { faults, ...figures } = await realBatch({
        databaseUrls: [databases[0].url, databases[1].url],
        users: Math.min(USERS_A_BATCH, USERS - done),
        seed: seed + done,
      });
      for (const database of databases) await database.drop();
      process.stdout.write(`real convergence: ${JSON.stringify(figures)}\n`);
      expect(faults).toEqual([]);
    }
  },
  30 * 60_000,
);
