// A reset of all who are due, in a process of its own: as the job does it, or row by row with Prisma as it is commonly
// written. Told by its first message, answers when it is done.
import { pino } from 'pino';
import { configOf, readCatalogue, readEnvironment } from '../src/config.ts';
import { type Context, openContext } from '../src/context.ts';
import { addMonths } from '../src/domain/period.ts';
import { rollUsers } from '../src/lib/roll-users.ts';

export interface ResetJob {
  kind: 'bulk' | 'row-by-row';
  environment: Record<string, string>;
}

export interface ResetResult {
  rolled: number;
  seconds: number;
  cpuMicroseconds: number;
}

const ALLOWANCE_TOKENS = 10_000n;

/** Update and insert per user, and nothing of grants: less than ours does. */
async function rowByRow({ db, clock }: Context): Promise<number> {
  const now = clock.now();
  const due = await db.user.findMany({ where: { nextDueAt: { lte: now } } });
  for (const { bucket, id, periodEnd, lastSeq } of due) {
    const end = addMonths(periodEnd, 1);
    await db.$transaction([
      db.user.update({
        where: { bucket_id: { bucket, id } },
        data: {
          availableTokens: ALLOWANCE_TOKENS,
          headRemainingTokens: ALLOWANCE_TOKENS,
          monthlyTokensUsed: 0,
          monthlyResetDate: periodEnd,
          periodEnd: end,
          nextDueAt: end,
          lastSeq: lastSeq + 1n,
        },
      }),
      // Prisma's client leaves the table out, which has no key in its sense.
      db.$executeRaw`insert into ledger_entries
          (bucket, user_id, seq, type, tokens, balance_after, available_after, total_used_after, key, created_at)
        values (${bucket}, ${id}, ${lastSeq + 1n}, 'granted', ${ALLOWANCE_TOKENS}, ${ALLOWANCE_TOKENS},
          ${ALLOWANCE_TOKENS}, 0, ${`reset:${periodEnd.toISOString()}`}, ${now})`,
    ]);
  }
  return due.length;
}

async function run({ kind, environment }: ResetJob): Promise<ResetResult> {
  const settings = readEnvironment(environment);
  const log = pino({ level: 'warn' }, pino.destination(2));
  const context = await openContext({ config: configOf(settings), catalogue: readCatalogue(settings), log });
  const before = process.cpuUsage();
  const startMs = performance.now();
  const rolled = kind === 'bulk' ? await rollUsers(context, 'due') : await rowByRow(context);
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(before);
  await context.close();
  return { rolled, seconds, cpuMicroseconds: user + system };
}

process.on('message', (job: ResetJob) => {
  run(job).then(
    (result) => process.send?.(result),
    (error: unknown) => {
      process.stderr.write(`reset ${job.kind}: ${error instanceof Error ? error.stack : String(error)}\n`);
      process.exit(1);
    },
  );
});
process.on('disconnect', () => process.exit(0));
