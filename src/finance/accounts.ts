/** Ledgers against what the stored facts make of them: grants, plans and clawbacks (invariants I4 and I8), and sums. */
import type { Context } from '../context.ts';
import { Account } from '../domain/account.ts';
import { type AccountCheck, checkAccount, landingsByKey } from '../domain/check-account.ts';
import { type Difference, difference, sidesOf } from '../domain/differences.ts';
import type { PaidLine } from '../domain/paid-lines.ts';
import { type AccountRows, listAccounts, START } from '../store/books.ts';
import { findEntryByKey } from '../store/ledger.ts';
import { correctionKey } from './correction.ts';
import type { Check } from './findings.ts';
import { extraGrant } from './payments.ts';

const PAGE = 200;

/** @returns how many users there are */
export async function compareAccounts(check: Check): Promise<number> {
  let count = 0;
  let after: { bucket: number; userId: string } = START;
  for (;;) {
    const page = await listAccounts(check.context.pool, after, PAGE, check.user?.id ?? null);
    count += page.length;
    const found: Difference[] = [];
    for (const rows of page) found.push(...(await compareAccount(check, rows)));
    await addUnexplained(check, page, found);
    const last = page.at(-1);
    if (!last || page.length < PAGE) return count;
    after = { bucket: last.bucket, userId: last.user.id };
  }
}

/** What makes the facts themselves wrong: a plan that follows from them says nothing of its own. */
const EXPLAIN_PLAN = [
  'missing_grant',
  'missing_line',
  'wrong_line',
  'extra_grant',
  'extra_line',
  'lost_subscription',
  'stale_subscription',
  'extra_subscription',
] as const;

/** Kinds whose repair begins with the sums: what the ledger says of such a user is no difference of its own. */
const EXPLAIN_LEDGER = [
  'missing_grant',
  'missing_line',
  'wrong_amount',
  'extra_grant',
  'extra_line',
  'clawback_wrong',
] as const;

async function addUnexplained(
  check: Check,
  page: readonly AccountRows[],
  found: readonly Difference[],
): Promise<void> {
  const { findings } = check;
  const unseen = found
    .filter(({ kind }) => kind === 'extra_grant')
    .flatMap(({ paymentId }) => paymentId ?? []);
  // What Stripe has is a missing line, which was found before.
  const gone = new Set(await findings.unseen(unseen));
  const plans = found.filter(({ kind }) => kind === 'wrong_plan').flatMap(({ userId }) => userId ?? []);
  const follows = await findings.usersWith(plans, EXPLAIN_PLAN);
  await findings.add(
    found.filter(({ kind, paymentId, userId }) => {
      if (kind === 'wrong_plan') return !follows.has(userId ?? '');
      return kind !== 'extra_grant' || gone.has(paymentId ?? '');
    }),
  );
  const broken = page.filter(({ violations }) => violations.length > 0);
  const explained = await findings.usersWith(
    broken.map(({ user }) => user.id),
    EXPLAIN_LEDGER,
  );
  await findings.add(
    broken
      .filter(({ user }) => !explained.has(user.id))
      .map(({ user, violations }) =>
        difference({
          kind: 'ledger',
          subjectId: user.id,
          userId: user.id,
          ourSide: { violations: violations.map(({ invariant, detail }) => `${invariant}: ${detail}`) },
        }),
      ),
  );
}

/** A copy of the account that the rules may change. */
export function accountOf({ catalogue }: Pick<Context, 'catalogue'>, rows: AccountRows, now: Date): Account {
  const { headGrantId: _id, headSource: _source, headRemainingTokens: _tokens, ...user } = rows.user;
  let made = 0;
  const newId = (): string => `new_${++made}`;
  return new Account(
    { ...user },
    rows.grants.map((grant) => ({ ...grant })),
    rows.holds,
    catalogue,
    now,
    newId,
  );
}

async function compareAccount({ context, now }: Check, rows: AccountRows): Promise<Difference[]> {
  const userId = rows.user.id;
  let check: AccountCheck;
  try {
    check = checkAccount(accountOf(context, rows, now), rows);
  } catch (error) {
    // Rows that contradict each other so far that the rules refuse them.
    const violations = [error instanceof Error ? error.message : String(error)];
    return [difference({ kind: 'ledger', subjectId: userId, userId, ourSide: { violations } })];
  }
  const wrong: AccountCheck['wrongAmounts'] = [];
  for (const one of check.wrongAmounts) {
    const key = correctionKey(one.grant, one.shouldTokens);
    if (!(await findEntryByKey(context.pool, userId, key))) wrong.push(one);
  }
  return [
    ...missingGrants(context, check, rows),
    ...wrongPlan(check, userId),
    ...clawbacks(check, userId),
    ...wrong.map((one) => wrongAmount(one, userId)),
    ...check.strangers.map((grant) => extraGrant(userId, grant, grant.invoiceId ?? grant.checkoutSessionId)),
    ...forAPerson(check, userId),
  ];
}

function missingGrants(
  context: Pick<Context, 'catalogue'>,
  { missing }: AccountCheck,
  rows: AccountRows,
): Difference[] {
  const landings = landingsByKey(context, rows.lines);
  return missing.map((grant) => {
    const line: PaidLine | undefined =
      landings.get(grant.key)?.line ?? rows.lines.find(({ key }) => key === grant.key);
    return difference({
      kind: 'missing_grant',
      subjectId: grant.key,
      userId: rows.user.id,
      paymentId: grant.invoiceId ?? grant.checkoutSessionId,
      subscriptionId: grant.subscriptionId,
      stripeSide: line
        ? { key: line.key, offer: line.offer, amountMinor: line.amountMinor, paidAt: line.paidAt }
        : null,
      moneyMinor: grant.costBasisMinor,
      currency: grant.currency,
      tokens: grant.amountTokens,
    });
  });
}

function wrongPlan({ plan, withheld, clawbacks: clawed }: AccountCheck, userId: string): Difference[] {
  const subject = { kind: 'wrong_plan', subjectId: userId, userId } as const;
  if (plan) {
    const sides = sidesOf(plan.should, plan.ours, Object.keys(plan.ours) as (keyof typeof plan.ours)[]);
    const subscriptionId = plan.should.currentSubscriptionId ?? plan.ours.currentSubscriptionId;
    return [difference({ ...subject, subscriptionId, ...(sides ?? {}) })];
  }
  const alone = withheld.filter(({ id }) => !clawed.some(({ grant }) => grant.id === id));
  if (alone.length === 0) return [];
  const states = alone.map(({ id, isWithheld }) => `grant ${id} is ${isWithheld ? '' : 'not '}withheld`);
  const subscriptionId = alone[0]?.subscriptionId ?? null;
  return [difference({ ...subject, subscriptionId, ourSide: { withheld: states } })];
}

function clawbacks(check: AccountCheck, userId: string): Difference[] {
  return check.clawbacks.map(({ grant, oursTokens, shouldTokens, line }) =>
    difference({
      kind: 'clawback_wrong',
      subjectId: grant.id,
      userId,
      grantId: grant.id,
      paymentId: grant.invoiceId ?? grant.checkoutSessionId,
      subscriptionId: grant.subscriptionId,
      stripeSide: line
        ? { ...line.money, clawTargetTokens: shouldTokens }
        : { clawTargetTokens: shouldTokens },
      ourSide: { clawTargetTokens: oursTokens },
      tokens: shouldTokens - oursTokens,
      currency: grant.currency,
    }),
  );
}

function wrongAmount(
  { grant, shouldTokens, line }: AccountCheck['wrongAmounts'][number],
  userId: string,
): Difference {
  return difference({
    kind: 'wrong_amount',
    subjectId: grant.id,
    userId,
    grantId: grant.id,
    paymentId: line.paymentId,
    subscriptionId: line.subscriptionId,
    stripeSide: { key: line.key, offer: line.offer, quantity: line.quantity, tokens: shouldTokens },
    ourSide: { grantId: grant.id, key: grant.key, amountTokens: grant.amountTokens },
    moneyMinor: grant.costBasisMinor,
    currency: grant.currency,
    tokens: shouldTokens - grant.amountTokens,
  });
}

/** What only a person can decide: money for nothing, until it is refunded. */
function forAPerson({ paidTwice, duplicates }: AccountCheck, userId: string): Difference[] {
  return [
    ...paidTwice.map((line) =>
      difference({
        kind: 'window_paid_twice',
        subjectId: line.key,
        userId,
        paymentId: line.paymentId,
        subscriptionId: line.subscriptionId,
        stripeSide: { key: line.key, start: line.start, end: line.end, paidAt: line.paidAt },
        moneyMinor: line.amountMinor,
        currency: line.currency,
      }),
    ),
    ...duplicates.map((subscriptionId) =>
      difference({ kind: 'two_subscriptions', subjectId: subscriptionId, userId, subscriptionId }),
    ),
  ];
}
