// Consume as it is commonly written with Prisma: read, check, update, insert, in an interactive transaction. On tables
// of its own without grants, so it does less than ours. Prisma's default isolation: two at once may overspend.
import type { Context } from '../src/context.ts';
import { TollgateError } from '../src/errors.ts';
import type { RouteAnswer, RouteInput } from '../src/http/route.ts';
import { echo } from './echo.ts';

export const NAIVE_TABLES = `
  create table naive_account (id text primary key, balance bigint not null);
  create table naive_ledger (id bigint generated always as identity primary key, account_id text not null, key text not null,
    tokens bigint not null, balance_after bigint not null, created_at timestamptz not null default now(), unique (account_id, key));
  insert into naive_account select id, 1000000000 from users;`;

export async function consumeInPrismaTransaction(context: Context, input: RouteInput): Promise<RouteAnswer> {
  const { userId, tokens } = input.body as { userId: string; tokens: number };
  await context.db.$transaction(
    async (tx) => {
      const [account] = await tx.$queryRaw<
        { balance: bigint }[]
      >`select balance from naive_account where id = ${userId}`;
      if (!account || account.balance < tokens)
        throw new TollgateError('insufficient_credits', 'Too little.');
      const after = account.balance - BigInt(tokens);
      await tx.$executeRaw`update naive_account set balance = ${after} where id = ${userId}`;
      await tx.$executeRaw`insert into naive_ledger (account_id, key, tokens, balance_after) values (${userId}, ${input.change.key}, ${-tokens}, ${after})`;
    },
    { maxWait: 20_000, timeout: 20_000 },
  );
  return { status: 200, body: echo(tokens) };
}
