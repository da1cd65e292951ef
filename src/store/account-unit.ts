/**
 * An account that a request may change, with all that the request wanted to know beside it, and what it leaves to be
 * written beside it. All is read before the first decision, by one statement per kind however many requests there are,
 * so that decisions are pure; each sees what the earlier ones of its user did.
 */
import type { Account } from '../domain/account.ts';
import type { Consumption, Entry, Grant, Hold } from '../domain/model.ts';
import { bucketOf } from './bucket.ts';
import type { Transaction } from './database.ts';
import { findGrantsById, findHoldsById } from './grants.ts';
import {
  type AnswerKey,
  findAnswers,
  type NewAnswer,
  type StoredAnswer,
  storeAnswers,
} from './idempotency.ts';
import type { Lane } from './lanes.ts';
import type { StoredEntry } from './ledger.ts';
import { findConsumptions, findEntriesByKey } from './ledger-sets.ts';
import type { OfUser } from './row-sets.ts';
import { insertWorkflows, type NewWorkflow } from './workflows.ts';

/** What a request wants to know beside the account. */
export interface Needs {
  /** Under which its own answer is, or will be. */
  answer?: AnswerKey;
  holdId?: string;
  entryKey?: string;
  consumptionSeq?: number;
}

const nameOf = ({ scope, key }: AnswerKey): string => JSON.stringify([scope, key]);

/** What was read; undefined where it was wanted and is not there. */
class Found {
  readonly answers = new Map<string, StoredAnswer | undefined>();
  readonly holds = new Map<string, Hold | undefined>();
  readonly entries = new Map<string, Entry | StoredEntry | undefined>();
  readonly consumptions = new Map<number, Consumption | undefined>();
  /** Closed ones, for what returns to them. */
  readonly grants = new Map<string, Grant>();

  want({ answer, holdId, entryKey, consumptionSeq }: Needs): void {
    if (answer) this.answers.set(nameOf(answer), undefined);
    if (holdId !== undefined) this.holds.set(holdId, undefined);
    if (entryKey !== undefined) this.entries.set(entryKey, undefined);
    if (consumptionSeq !== undefined) this.consumptions.set(consumptionSeq, undefined);
  }
}

export class AccountUnit {
  readonly account: Account;
  readonly newAnswers: NewAnswer[] = [];
  readonly newWorkflows: NewWorkflow[] = [];
  readonly #found: Found;

  constructor(account: Account, found: Found) {
    this.account = account;
    this.#found = found;
  }

  answer(key: AnswerKey): StoredAnswer | undefined {
    return wanted(this.#found.answers, nameOf(key));
  }

  keepAnswer({ scope, key }: AnswerKey, answer: StoredAnswer): void {
    this.#found.answers.set(nameOf({ scope, key }), answer);
    this.newAnswers.push({ scope, key, ...answer, createdAt: this.account.now });
  }

  hold(id: string): Hold | undefined {
    return this.account.holds.get(id) ?? wanted(this.#found.holds, id);
  }

  entryByKey(key: string): Entry | StoredEntry | undefined {
    return wanted(this.#found.entries, key) ?? this.account.entries.find((entry) => entry.key === key);
  }

  consumption(seq: number): Consumption | undefined {
    const stored = wanted(this.#found.consumptions, seq);
    if (!stored) return undefined;
    let { refundedTokens } = stored;
    for (const { refersToSeq, tokens, overageTokens } of this.account.entries) {
      if (refersToSeq === seq) refundedTokens += tokens + overageTokens;
    }
    return { ...stored, refundedTokens };
  }

  /** Brings closed grants into the account, for what returns to them. */
  bringGrants(ids: readonly string[]): void {
    const { grants } = this.account;
    for (const id of ids) {
      const grant = this.#found.grants.get(id);
      if (grant && !grants.has(id)) grants.set(id, grant);
    }
  }

  keepWorkflow(workflow: NewWorkflow): void {
    this.newWorkflows.push(workflow);
  }
}

/** What nobody has read must not pass for something that is not there. */
function wanted<Key, Value>(found: ReadonlyMap<Key, Value | undefined>, key: Key): Value | undefined {
  if (!found.has(key)) throw new Error(`${String(key)} was not asked for before the decision.`);
  return found.get(key);
}

export interface Wanting {
  account: Account;
  needs: readonly Needs[];
}

/** @param lane of all of their users */
export async function readUnits(
  tx: Transaction,
  lane: Lane,
  accounts: readonly Wanting[],
): Promise<AccountUnit[]> {
  const all = new Map<string, { account: Account; found: Found }>();
  for (const { account, needs } of accounts) {
    const found = new Found();
    for (const one of needs) found.want(one);
    all.set(account.user.id, { account, found });
  }
  const foundOf = (userId: string): Found => all.get(userId)?.found ?? new Found();
  const ask = <Row>(rowsOf: (found: Found, account: Account) => Iterable<Row>): OfUser<Row>[] =>
    [...all].flatMap(([userId, { account, found }]) =>
      Array.from(rowsOf(found, account), (row) => ({ userId, row })),
    );

  const wantedAnswers = ask(({ answers }) => Array.from(answers.keys(), answerKeyOf));
  const wantedHolds = ask((found, { holds }) =>
    [...found.holds.keys()].filter((id) => !holds.has(id)).map((id) => ({ id })),
  );
  const wantedEntries = ask(({ entries }) => Array.from(entries.keys(), (key) => ({ key })));
  const wantedSeqs = ask(({ consumptions }) => Array.from(consumptions.keys(), (seq) => ({ seq })));
  const [answers, holds, entries, consumptions] = await Promise.all([
    findAnswers(tx, lane, wantedAnswers),
    findHoldsById(tx, lane, wantedHolds),
    findEntriesByKey(tx, lane, wantedEntries),
    findConsumptions(tx, lane, wantedSeqs),
  ]);
  for (const { userId, row } of answers) foundOf(userId).answers.set(nameOf(row), row);
  for (const { userId, row } of holds) foundOf(userId).holds.set(row.id, row);
  for (const { userId, row } of entries) foundOf(userId).entries.set(row.key, row);
  for (const { userId, row } of consumptions) foundOf(userId).consumptions.set(row.seq, row);
  const grants = await findGrantsById(tx, lane, ask(closedGrantsOf));
  for (const { userId, row } of grants) foundOf(userId).grants.set(row.id, row);
  return Array.from(all.values(), ({ account, found }) => new AccountUnit(account, found));
}

function answerKeyOf(name: string): AnswerKey {
  const [scope, key] = JSON.parse(name);
  return { scope, key };
}

/** For a unit of work that does more in its transaction; what it keeps beside the account is not written. */
export async function readUnit(tx: Transaction, account: Account, needs: Needs): Promise<AccountUnit> {
  const [unit] = await readUnits(tx, bucketOf(account.user.id), [{ account, needs: [needs] }]);
  if (!unit) throw new Error('An account has one unit.');
  return unit;
}

/** To which tokens may return, and which are not in the account. The grants of open holds always are. */
function closedGrantsOf({ consumptions }: Found, { grants }: Account): { id: string }[] {
  const ids = new Set<string>();
  for (const consumption of consumptions.values()) {
    for (const { grantId } of consumption?.parts ?? []) if (!grants.has(grantId)) ids.add(grantId);
  }
  return Array.from(ids, (id) => ({ id }));
}

/**
 * Writes what the requests leave beside the accounts, after the accounts.
 * @param lane of all of their users
 */
export async function saveUnits(tx: Transaction, lane: Lane, units: readonly AccountUnit[]): Promise<void> {
  const all = <Row>(rowsOf: (unit: AccountUnit) => readonly Row[]): OfUser<Row>[] =>
    units.flatMap((unit) => rowsOf(unit).map((row) => ({ userId: unit.account.user.id, row })));
  await Promise.all([
    storeAnswers(
      tx,
      lane,
      all(({ newAnswers }) => newAnswers),
    ),
    insertWorkflows(
      tx,
      lane,
      all(({ newWorkflows }) => newWorkflows),
    ),
  ]);
}
