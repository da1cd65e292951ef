// The hourly check of the ledgers: a user that is not sound is left alone by what runs by itself, and by nothing else.
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Context } from '../../src/context.ts';
import { consume } from '../../src/lib/credits.ts';
import { placeHold } from '../../src/lib/holds.ts';
import { unpark, verifyLedgers } from '../../src/lib/parking.ts';
import { libraryRequest } from '../../src/lib/requests.ts';
import { rollUsers } from '../../src/lib/roll-users.ts';
import { readUsage, signUp } from '../../src/lib/users.ts';
import { listDueUsers } from '../../src/store/due-users.ts';
import { findEvent, markUnhandled, receiveEvent } from '../../src/store/inbox.ts';
import { findViolations } from '../../src/store/invariants.ts';
import { findParking, refuseParked, UserParkedError } from '../../src/store/parking.ts';
import { runJob } from '../../workers/jobs.ts';
import { type Library, openLibrary, START } from '../support/library.ts';

let library: Library;
let context: Context;
let alerts: Record<string, unknown>[];
beforeEach(async () => {
  library = await openLibrary();
  alerts = [];
  const log = pino({ level: 'error' }, { write: (line) => alerts.push(JSON.parse(line)) });
  context = { ...library.context, log };
});
afterEach(() => library.close());

const hoursLater = (hours: number): void =>
  library.setTime(new Date(Date.parse(START) + hours * 3_600_000).toISOString());
const signUpAll = (...users: string[]) => Promise.all(users.map((userId) => signUp(context, { userId })));
const spend = (userId: string) => consume(context, { userId }, libraryRequest('consume', undefined));
/** A debt that no grant knows of: the sums are wrong, and consuming still works. */
const owe = (userId: string, tokens: number) =>
  context.pool.query('update users set debt_tokens = debt_tokens + $2 where id = $1', [userId, tokens]);
const auditOf = async (userId: string): Promise<string[]> => {
  const { rows } = await context.pool.query(
    'select actor, action from audit_entries where user_id = $1 order by created_at',
    [userId],
  );
  return rows.map(({ actor, action }) => `${actor} ${action}`);
};

test('parks exactly the users that violate an invariant, and tells a human', async () => {
  await signUpAll('sound', 'broken', 'other');
  await owe('broken', 5);
  expect(await verifyLedgers(context)).toEqual({ checked: 3, parked: 1 });
  expect(await findParking(context.pool, 'sound')).toBeUndefined();
  expect(await findParking(context.pool, 'broken')).toEqual({
    at: new Date(START),
    reason: expect.stringContaining('invariant_i1_balance: entries 10000'),
  });
  expect(alerts).toMatchObject([
    { alert: 'ledger_violation', userId: 'broken', violations: expect.any(Array) },
  ]);
  expect(await auditOf('broken')).toEqual(['verify-ledger park']);
});

test('an entry of nobody is told to a human at every check, and parks nobody', async () => {
  await signUpAll('sound');
  await context.pool.query(
    `insert into ledger_entries (bucket, user_id, seq, type, tokens, balance_after, available_after, total_used_after, key, created_at)
     select bucket, 'nobody', seq, type, tokens, balance_after, available_after, total_used_after, key, created_at
     from ledger_entries where user_id = 'sound'`,
  );
  const told = [{ invariant: 'invariant_i1_owner', userId: 'nobody', detail: 'entry 1 is of nobody' }];
  for (const hours of [1, 2]) {
    hoursLater(hours);
    expect(await verifyLedgers(context)).toMatchObject({ parked: 0 });
    expect(alerts).toHaveLength(hours);
    expect(alerts.at(-1)).toMatchObject({ alert: 'ledger_violation', violations: told });
  }
  expect(await findViolations(context.pool)).toMatchObject(told);
});

test('checks again only those that have changed since, one with nothing but a hold included', async () => {
  await signUpAll('a', 'b', 'c');
  hoursLater(1);
  expect(await verifyLedgers(context)).toEqual({ checked: 3, parked: 0 });
  hoursLater(2);
  expect(await verifyLedgers(context)).toEqual({ checked: 0, parked: 0 });
  await spend('b');
  const hold = { userId: 'c', tokens: 1, expiresInSeconds: 86_400 };
  await placeHold(context, hold, libraryRequest('hold', undefined));
  hoursLater(3);
  expect(await verifyLedgers(context)).toEqual({ checked: 2, parked: 0 });
  hoursLater(4);
  expect(await verifyLedgers(context)).toEqual({ checked: 0, parked: 0 });
});

test('a user that could not be checked is checked the next time, changed or not', async () => {
  await signUpAll('a');
  hoursLater(1);
  await context.pool.query('alter view invariant_i7_allowances rename to away');
  expect(await verifyLedgers(context)).toEqual({ checked: 0, parked: 0 });
  expect(alerts).toMatchObject([{ alert: 'verify_failed', userId: 'a' }]);
  await context.pool.query('alter view away rename to invariant_i7_allowances');
  hoursLater(5);
  expect(await verifyLedgers(context)).toEqual({ checked: 1, parked: 0 });
});

test('jobs and Stripe leave a parked user alone; reading and consuming go on', async () => {
  await signUpAll('parked', 'sound');
  await owe('parked', 5);
  await runJob(context, { name: 'verify-ledger', data: {}, isLast: true });
  expect((await spend('parked')).body.creditsRemaining).toBe(4);
  hoursLater(24 * 40);
  expect(await listDueUsers(context.pool, 'due', { now: context.clock.now(), limit: 10 })).toEqual(['sound']);
  expect(await rollUsers(context, 'due')).toBe(1);
  await expect(refuseParked(context.pool, 'sound')).resolves.toBeUndefined();
  await expect(refuseParked(context.pool, 'parked')).rejects.toThrow(UserParkedError);
  await expect(refuseParked(context.pool, 'parked')).rejects.toThrow(/invariant_i1_balance/);
  // Whoever asks for it still gets it rolled.
  expect(await readUsage(context, 'parked')).toMatchObject({ availableTokens: 10_000 - 5 });
});

test('is unparked once it is sound, and what has waited for it is handled at once', async () => {
  await signUpAll('ada');
  await owe('ada', 5);
  await verifyLedgers(context);
  const later = new Date(Date.parse(START) + 86_400_000);
  const event = { id: 'evt_1', type: 'charge.refunded', apiVersion: null, livemode: false, objectId: 'ch_1' };
  const pointer = { ...event, customerId: null, createdAt: new Date(START) };
  await receiveEvent(context.pool, pointer, { origin: 'webhook', now: new Date(START) });
  const parked = { status: 'parked' as const, error: 'parked', nextAttemptAt: later, userId: 'ada' };
  await markUnhandled(context.pool, 'evt_1', parked);
  const free = () => unpark(context, 'ada', { reason: 'mended', actor: 'test' });
  await expect(free()).rejects.toThrow(/not sound yet: invariant_i1_balance/);
  expect(await findParking(context.pool, 'ada')).toBeDefined();
  await owe('ada', -5);
  expect(await free()).toEqual({ wokenEvents: ['evt_1'] });
  expect(await findParking(context.pool, 'ada')).toBeUndefined();
  expect(await findEvent(context.pool, 'evt_1')).toMatchObject({ nextAttemptAt: new Date(START) });
  expect(library.woken).toEqual([{ name: 'handle-stripe-event', eventId: 'evt_1' }]);
  expect(await auditOf('ada')).toEqual(['verify-ledger park', 'test unpark']);
  await expect(free()).rejects.toThrow('This user is not parked.');
  await expect(unpark(context, 'nobody', { reason: 'x', actor: 'test' })).rejects.toThrow('no such user');
});
