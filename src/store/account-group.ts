/**
 * Changes of many accounts that share one commit: one statement per table and step, however many requests there are.
 * Each request is decided by itself, in the given order, by the domain's code; one by one is a group of one.
 */
import type { Catalogue } from '../domain/plans.ts';
import { notFound, TollgateError } from '../errors.ts';
import { type LoadedAccount, loadAccounts, lockUsers } from './account-load.ts';
import { mayFallDueOtherwise, rollAccount } from './account-roll.ts';
import { saveAccounts } from './account-save.ts';
import { type AccountUnit, type Needs, readUnits, saveUnits } from './account-unit.ts';
import type { Pool, Transaction } from './database.ts';
import type { Lane } from './lanes.ts';
import { inTransaction } from './transaction.ts';

/** A change of one user's account. */
export interface AccountRequest<Result> {
  userId: string;
  /** When it was asked for. */
  now: Date;
  needs: Needs;
  /**
   * Everything that is due has been applied. Pure but for the unit: it may be run again, on another one.
   * @throws TollgateError a refusal, before anything was changed
   */
  decide(unit: AccountUnit): Result;
}

export type Decided<Result> = { result: Result } | { error: TollgateError };

export interface GroupOptions {
  pool: Pool;
  catalogue: Catalogue;
  /**
   * In a group nobody waits for a lock that somebody else has: its users are left undecided. Else a lock is waited for,
   * and all requests are of one user.
   */
  waits: boolean;
}

/** Of the rows of users it waits for none; whatever else is locked by somebody's hand must not hold up the others. */
const GROUP_LOCK_TIMEOUT = "set local lock_timeout = '100ms'";

/**
 * @param lane of all of their users
 * @returns one decision per request; undefined where its user is locked just now or unknown, if nobody waits
 * @throws Error where nothing was written: it may be the fault of one request alone
 */
export function decideGroup<Result>(
  { pool, catalogue, waits }: GroupOptions,
  lane: Lane,
  requests: readonly AccountRequest<Result>[],
): Promise<(Decided<Result> | undefined)[]> {
  return inTransaction(pool, async (tx) => {
    const group = await openGroup(tx, lane, requests, { catalogue, waits });
    const decisions = requests.map((request) => {
      const member = group.get(request.userId);
      if (member) return decideOne(member.unit, request);
      return waits ? { error: notFound('user') } : undefined;
    });
    await saveGroup(tx, lane, [...group.values()]);
    return decisions;
  });
}

interface Member extends LoadedAccount {
  unit: AccountUnit;
  /** What of it there was to begin with. */
  trace: string;
}

/** Locks and reads the accounts, and applies what is due. */
async function openGroup(
  tx: Transaction,
  lane: Lane,
  requests: readonly AccountRequest<unknown>[],
  { catalogue, waits }: Pick<GroupOptions, 'catalogue' | 'waits'>,
): Promise<Map<string, Member>> {
  const ofUsers = new Map<string, { now: Date; needs: Needs[] }>();
  for (const { userId, now, needs } of requests) {
    const known = ofUsers.get(userId);
    if (!known) ofUsers.set(userId, { now, needs: [needs] });
    else {
      known.needs.push(needs);
      if (now > known.now) known.now = now;
    }
  }
  const [, users] = await Promise.all([
    waits ? undefined : tx.query(GROUP_LOCK_TIMEOUT),
    lockUsers(tx, lane, [...ofUsers.keys()], { skipLocked: !waits }),
  ]);
  if (users.length === 0) return new Map();
  const loaded = await loadAccounts(tx, lane, users, { catalogue, now: latest(requests) });
  const wanting = loaded.map(({ account }) => {
    const { now, needs } = ofUsers.get(account.user.id) ?? { now: account.now, needs: [] };
    // All requests of a user are decided as of the last of them.
    account.now = now;
    return { account, needs };
  });
  const units = await readUnits(tx, lane, wanting);
  const group = new Map<string, Member>();
  for (const [index, one] of loaded.entries()) {
    const unit = units[index];
    if (!unit) continue;
    group.set(one.row.id, { ...one, unit, trace: traceOf(unit) });
    if (one.row.nextDueAt <= one.account.now) await rollAccount(tx, one.account);
  }
  return group;
}

function latest(requests: readonly { now: Date }[]): Date {
  return new Date(Math.max(...requests.map(({ now }) => now.getTime())));
}

/** A refusal is one request's own; whatever else is thrown, or a refusal that has changed something, ends the group. */
function decideOne<Result>(unit: AccountUnit, request: AccountRequest<Result>): Decided<Result> {
  const before = traceOf(unit);
  try {
    return { result: request.decide(unit) };
  } catch (error) {
    if (!(error instanceof TollgateError) || traceOf(unit) !== before) throw error;
    return { error };
  }
}

/** Two of one account are equal if nothing of what would be written has changed in between. */
function traceOf({ account, newAnswers, newWorkflows }: AccountUnit): string {
  const { user, entries, grants, holds, newGrants, changedGrants, changedHolds } = account;
  const trace: unknown[] = [newAnswers, newWorkflows, entries].map(({ length }) => length);
  trace.push(newGrants.size, changedGrants.size, changedHolds.size);
  for (const value of Object.values(user)) trace.push(value instanceof Date ? value.getTime() : value);
  for (const { remainingTokens, heldTokens, closedAt } of grants.values())
    trace.push(remainingTokens, heldTokens, closedAt?.getTime());
  for (const { status } of holds.values()) trace.push(status);
  return trace.join();
}

async function saveGroup(tx: Transaction, lane: Lane, members: readonly Member[]): Promise<void> {
  for (const { account, row } of members)
    if (mayFallDueOtherwise(account, row)) await rollAccount(tx, account);
  const changed = members.filter(({ unit, trace }) => traceOf(unit) !== trace);
  const units = members.map(({ unit }) => unit);
  // Sent in this order, one behind the other.
  await Promise.all([
    changed.length > 0
      ? saveAccounts(tx, lane, changed, latest(changed.map(({ account }) => account)))
      : undefined,
    saveUnits(tx, lane, units),
  ]);
}
