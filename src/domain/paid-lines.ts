/**
 * What was paid for, and which allowances it buys: the windows of a subscription's paid lines, in one canonical order
 * that does not depend on when each line became known. Pure.
 */
import { addMonths, type Period } from './period.ts';
import { type Catalogue, planDefinition, TOKENS_PER_CREDIT } from './plans.ts';

export type LineKind = 'full' | 'trial' | 'delta' | 'pack' | 'credit' | 'none';

/** One line of a paid invoice or of a paid Checkout payment, with what became of the whole payment. Money in minor units. */
export interface PaidLine extends Period {
  /** `inv:{invoice}:{line}` or `pack:{session}:{line item}`: the economic fact. */
  key: string;
  kind: LineKind;
  /** The invoice or the session. */
  paymentId: string;
  lineId: string;
  subscriptionId: string | null;
  itemId: string | null;
  /** The plan or the pack; null where the price is not in the catalogue. */
  offer: string | null;
  interval: string | null;
  quantity: number;
  amountMinor: number;
  currency: string;
  paidAt: Date;
  /** Why it gives no tokens. */
  note: string | null;
  money: PaymentMoney;
}

/** A payment as a whole: how much was paid and how much of it went back, all of them cumulative. */
export interface PaymentMoney {
  paidMinor: number;
  refundedMinor: number;
  disputedMinor: number;
  creditedMinor: number;
}

/** One allowance that a paid line buys. */
export interface Landing {
  key: string;
  line: PaidLine;
  /** The plan. */
  offer: string;
  window: Period;
  /** A window's allowance, or what a change inside it adds. */
  kind: 'full' | 'delta';
  tokens: number;
  costBasisMinor: number;
}

interface Window extends Period {
  line: PaidLine;
  month: number;
  /** Tokens of this window so far: its allowance and what changes inside it added. */
  tokens: number;
}

/** The part of a grant that payment refunds, disputes and credit notes take back (stripe.md B7); rounded down. */
export function clawTarget({ money }: Pick<PaidLine, 'money'>, amountTokens: number): number {
  const returned = money.refundedMinor + money.disputedMinor + money.creditedMinor;
  if (returned <= 0 || money.paidMinor <= 0) return 0;
  if (returned >= money.paidMinor) return amountTokens;
  return Number((BigInt(amountTokens) * BigInt(returned)) / BigInt(money.paidMinor));
}

/** Lines that buy allowances, in the order of what they pay for and not of their arrival. */
function inOrder(lines: readonly PaidLine[]): PaidLine[] {
  const rank = ({ kind }: PaidLine): number => (kind === 'delta' ? 1 : 0);
  return lines
    .filter(({ kind }) => kind === 'full' || kind === 'trial' || kind === 'delta')
    .sort(
      (a, b) =>
        a.start.getTime() - b.start.getTime() ||
        rank(a) - rank(b) ||
        a.paidAt.getTime() - b.paidAt.getTime() ||
        (a.key < b.key ? -1 : 1),
    );
}

/** Lines that pay for a window which another line has paid for already: they buy nothing. */
export function paidTwice(lines: readonly PaidLine[]): PaidLine[] {
  const seen = new Set<string>();
  return inOrder(lines).filter((line) => {
    if (line.kind === 'delta') return false;
    const window = `${line.itemId} ${line.start.getTime()}`;
    const isAgain = seen.has(window);
    seen.add(window);
    return isAgain;
  });
}

/**
 * Everything that the lines of one subscription buy, future months of annual lines included.
 * A full line's windows replace those that an earlier line had from there on (a renewal). A change fills the window
 * that runs up to the new allowance, counting all that this window has had, so that going up, down and up again gains
 * nothing (stripe.md B2); the windows after it are its own.
 */
export function landingsOf(catalogue: Catalogue, lines: readonly PaidLine[]): Landing[] {
  const landings: Landing[] = [];
  let windows: Window[] = [];
  const twice = new Set(paidTwice(lines));
  const credited = new Set(lines.filter(({ kind }) => kind === 'credit').map(({ paymentId }) => paymentId));
  for (const line of inOrder(lines)) {
    if (line.offer === null || line.quantity < 1 || twice.has(line)) continue;
    const tokens = planDefinition(catalogue, line.offer).creditsPerPeriod * TOKENS_PER_CREDIT * line.quantity;
    const changed = changedWindow(line, windows, credited);
    const added = changed ? Math.max(0, tokens - changed.tokens) : 0;
    const own = changed ? windowsAfter(line, changed, windows, tokens) : windowsOf(line, tokens);
    if (changed) changed.tokens += added;
    const from = own[0]?.start ?? line.end;
    windows = [...windows.filter(({ start }) => start < from), ...own];
    dropReplaced(landings, from);
    const delta =
      changed && added > 0 ? [{ start: line.start, end: changed.end, month: 0, tokens: added }] : [];
    landings.push(...withCost(line, line.offer, delta, own));
  }
  return landings;
}

/**
 * The running window that a line changes; undefined for one that starts a window of its own. A full line inside a
 * window with a credit on its invoice is a change that moved the anchor: it would give a fresh allowance for next to no
 * money each time that somebody goes from months to a year and back. Not inside a trial, which nobody has paid for.
 */
function changedWindow(
  line: PaidLine,
  windows: readonly Window[],
  credited: ReadonlySet<string>,
): Window | undefined {
  const running = windows.findLast(({ start, end }) => start <= line.start && line.start < end);
  const isChange = line.kind === 'delta' || (running?.line.kind !== 'trial' && credited.has(line.paymentId));
  return isChange ? running : undefined;
}

/** A month that was to come belongs to the later line. */
function dropReplaced(landings: Landing[], from: Date): void {
  for (let index = landings.length - 1; index >= 0; index--) {
    const landing = landings[index];
    if (landing && landing.kind === 'full' && landing.window.start >= from) landings.splice(index, 1);
  }
}

/** The term itself, or the months of an annual one. */
function windowsOf(line: PaidLine, tokens: number): Window[] {
  if (line.interval !== 'year') return [{ start: line.start, end: line.end, month: 0, line, tokens }];
  const windows: Window[] = [];
  for (let month = 0; month < 12; month++) {
    const start = addMonths(line.start, month);
    if (start >= line.end) break;
    const next = addMonths(line.start, month + 1);
    windows.push({ start, end: new Date(Math.min(next.getTime(), line.end.getTime())), month, line, tokens });
  }
  return windows;
}

/**
 * What follows the running window of a change. A year: its months by the boundaries it had, or by those of the change
 * where it made the year of a month. A month: its share of what reaches beyond the running window, which is nothing
 * unless the anchor has moved.
 */
function windowsAfter(line: PaidLine, running: Window, windows: readonly Window[], tokens: number): Window[] {
  if (line.interval !== 'year') {
    const beyond = line.end.getTime() - running.end.getTime();
    const share = Math.floor(tokens * (beyond / (line.end.getTime() - line.start.getTime())));
    return share > 0 ? [{ start: running.end, end: line.end, month: 1, line, tokens: share }] : [];
  }
  const later = windows.filter(({ start, end }) => start >= running.end && end <= line.end);
  const boundaries = later.length > 0 ? later : windowsOf(line, tokens).slice(1);
  return boundaries.map(({ start, end }, index) => ({
    start: index === 0 ? running.end : start,
    end,
    month: index + 1,
    line,
    tokens,
  }));
}

/** The money of a line over the allowances that it gives; the last one takes what does not divide. */
function withCost(
  line: PaidLine,
  offer: string,
  delta: readonly (Period & { month: number; tokens: number })[],
  own: readonly Window[],
): Landing[] {
  const all = [
    ...delta.map((window) => ({ ...window, kind: 'delta' as const })),
    ...own.map((window) => ({ ...window, kind: 'full' as const })),
  ];
  const share = Math.floor(line.amountMinor / Math.max(1, all.length));
  return all.map(({ start, end, month, tokens, kind }, index) => ({
    key: month === 0 ? line.key : `${line.key}:m${month + 1}`,
    line,
    offer,
    window: { start, end },
    kind,
    tokens,
    costBasisMinor: index === all.length - 1 ? line.amountMinor - share * (all.length - 1) : share,
  }));
}
