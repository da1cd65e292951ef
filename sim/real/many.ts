/** Batch after batch, each on fresh databases of one throw-away PostgreSQL. */
import { mkdtempSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { ensureDatabase } from '../../src/local.ts';
import { migrate } from '../../src/store/migrate.ts';
import { type BatchResult, realBatch } from './batch.ts';

const USERS_A_BATCH = 50;

export async function convergeReally(
  { seed, count }: { seed: number; count: number },
  say: (line: string) => void,
): Promise<BatchResult> {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-sim-'));
  // The server may run as another user than root.
  await chmod(folder, 0o711);
  const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres'), durable: false });
  const sum: BatchResult = { users: 0, events: 0, failedAttempts: 0, faults: [] };
  try {
    for (let done = 0; done < count && sum.faults.length === 0; done += USERS_A_BATCH) {
      const fresh = async (side: string): Promise<string> => {
        const url = await ensureDatabase(postgres, `sim_${done}_${side}`);
        await migrate(url);
        return url;
      };
      const databaseUrls = [await fresh('in_order'), await fresh('in_chaos')] as const;
      const users = Math.min(USERS_A_BATCH, count - done);
      const result = await realBatch({ databaseUrls, users, seed: seed + done });
      sum.users += result.users;
      sum.events += result.events;
      sum.failedAttempts += result.failedAttempts;
      sum.faults.push(...result.faults.map((fault) => `--seed ${seed + done} --count ${users}: ${fault}`));
      say(`${sum.users} of ${count}, ${sum.events} events`);
    }
  } finally {
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  return sum;
}
