/**
 * Which allowances the paid lines of one subscription buy. Lines are taken in the order in which they were paid: what a
 * line gives depends on what was paid before it and on nothing later, so it is the same whether we heard of it at once
 * or at the end of the year, and nothing that has landed is ever to be taken back. Pure.
 */
import type { PaidLine } from './paid-lines.ts';
import { addMonths, hasCome, isBefore, type Period } from './period.ts';
import { type Catalogue, planDefinition, TOKENS_PER_CREDIT } from './plans.ts';

/** One allowance that a paid line buys. */
export interface Landing {
  key: string;
  line: PaidLine;
  /** The plan. */
  offer: string;
  window: Period;
  /** A window's allowance, or what is added to it. */
  kind: 'full' | 'delta';
  tokens: number;
  /** The best that has been paid for in this window: all its landings together give no more. */
  windowTokens: number;
  costBasisMinor: number;
}

interface Window extends Period {
  line: PaidLine;
  month: number;
  /** Tokens of this window so far: its allowance and what was added. */
  tokens: number;
  /** Made by a change inside a term that was not paid for (yet). */
  isWithoutTerm: boolean;
}

/** What a line adds to a window: its own, or one that was there before. */
interface Piece {
  of: Window;
  start: Date;
  month: number;
  kind: Landing['kind'];
  tokens: number;
}

type Given = Omit<Landing, 'windowTokens'> & { of: Window };

/** Lines that buy allowances, as they were paid; of those paid in one second by what they pay for. */
function inOrder(lines: readonly PaidLine[]): PaidLine[] {
  const rank = ({ kind }: PaidLine): number => (kind === 'delta' ? 1 : 0);
  return lines
    .filter(({ kind }) => kind === 'full' || kind === 'trial' || kind === 'delta')
    .sort(
      (a, b) =>
        a.paidAt.getTime() - b.paidAt.getTime() ||
        a.start.getTime() - b.start.getTime() ||
        rank(a) - rank(b) ||
        (a.key < b.key ? -1 : 1),
    );
}

/**
 * Lines that pay for a window which another line has paid for already: they buy nothing. A change of the very second in
 * which its term began gives money back; what pays twice does not.
 */
function again(ordered: readonly PaidLine[], credited: ReadonlySet<string>): PaidLine[] {
  const terms = ordered.filter(({ kind }) => kind !== 'delta');
  if (new Set(terms.map(({ start }) => start.getTime())).size === terms.length) return [];
  return terms.filter((line, index) => {
    if (credited.has(line.paymentId)) return false;
    const isSame = ({ itemId, start }: PaidLine): boolean =>
      itemId === line.itemId && start.getTime() === line.start.getTime();
    return terms.findIndex(isSame) < index;
  });
}

/** Invoices that give money of an earlier line back. */
function creditedPayments(lines: readonly PaidLine[]): Set<string> {
  return new Set(lines.filter(({ kind }) => kind === 'credit').map(({ paymentId }) => paymentId));
}

/** What the lines of one subscription buy, and those of them that buy nothing because another has paid for the same. */
export interface Bought {
  landings: Landing[];
  paidTwice: PaidLine[];
}

export function boughtWith(catalogue: Catalogue, lines: readonly PaidLine[]): Bought {
  const ordered = inOrder(lines);
  const credited = creditedPayments(lines);
  const paidTwice = again(ordered, credited);
  return { landings: landingsOfOrdered(catalogue, ordered, credited, paidTwice), paidTwice };
}

export function landingsOf(catalogue: Catalogue, lines: readonly PaidLine[]): Landing[] {
  return boughtWith(catalogue, lines).landings;
}

/**
 * Everything that the lines of one subscription buy, future months of annual lines included, by the start of their
 * windows. A full line's windows replace those that were to come from an earlier agreement. A change fills the window
 * that runs up to the new allowance, counting all that this window has had, so that going up, down and up again gains
 * nothing (stripe.md B2); the windows after it are its own.
 */
function landingsOfOrdered(
  catalogue: Catalogue,
  ordered: readonly PaidLine[],
  credited: ReadonlySet<string>,
  twice: readonly PaidLine[],
): Landing[] {
  let given: Given[] = [];
  let windows: Window[] = [];
  for (const [index, line] of ordered.entries()) {
    if (line.offer === null || line.quantity < 1 || twice.includes(line)) continue;
    const tokens = planDefinition(catalogue, line.offer).creditsPerPeriod * TOKENS_PER_CREDIT * line.quantity;
    const changed = changedWindow(line, ordered.slice(0, index), windows, credited);
    const own = changed ? windowsAfter(line, changed, windows, tokens) : windowsOf(line, tokens);
    const kept = beforeLater(own, line, windows, changed === undefined);
    const replaced = toCome(windows, kept[0]?.start ?? line.end, line);
    windows = windows.filter((window) => !replaced.has(window));
    given = given.filter(({ of }) => !replaced.has(of));
    const pieces = changed ? [fillUp(changed, line.start, tokens, 0)] : [];
    for (const window of kept) pieces.push(place(window, windows));
    given.push(...withCost(line, line.offer, pieces));
  }
  return given
    .map(({ of, ...landing }) => ({ ...landing, windowTokens: of.tokens }))
    .sort((a, b) => a.window.start.getTime() - b.window.start.getTime());
}

/**
 * The running window that a line changes; undefined for one that starts a window of its own, as a change does inside a
 * term that nobody has paid for yet. A full line inside a
 * window with a credit on its invoice is a change that moved the anchor: it would give a fresh allowance for next to no
 * money each time that somebody goes from months to a year and back. Not inside a trial, which nobody has paid for; but
 * a change of the trial itself is one.
 */
function changedWindow(
  line: PaidLine,
  before: readonly PaidLine[],
  windows: readonly Window[],
  credited: ReadonlySet<string>,
): Window | undefined {
  let running: Window | undefined;
  for (const window of windows) {
    const isRunning = hasCome(window.start, line.start) && isBefore(line.start, window.end);
    if (isRunning && (running === undefined || !isBefore(window.start, running.start))) running = window;
  }
  if (line.kind === 'delta') {
    // One that makes a year of a month brings its own term.
    const isTermPaid =
      line.interval !== running?.line.interval ||
      before.some((term) => hasCome(term.start, line.start) && !isBefore(term.end, line.end));
    return isTermPaid ? running : undefined;
  }
  const isTrial = running?.line.kind === 'trial';
  return isTrial === (line.kind === 'trial') && (isTrial || credited.has(line.paymentId))
    ? running
    : undefined;
}

/** The windows of `own` that no later agreement has taken over; the term that a line itself pays for stays in any case. */
function beforeLater(
  own: readonly Window[],
  line: PaidLine,
  windows: readonly Window[],
  hasTerm: boolean,
): Window[] {
  const later = windows.filter((window) => isBefore(line.start, window.line.start));
  return own.filter(
    ({ start }, index) => (hasTerm && index === 0) || !later.some((window) => hasCome(window.start, start)),
  );
}

/** Windows from `from` on that an earlier agreement was to give and has not given by the time that `line` was paid. */
function toCome(windows: readonly Window[], from: Date, line: PaidLine): Set<Window> {
  return new Set(
    windows.filter(
      (window) =>
        !isBefore(window.start, from) &&
        isBefore(line.paidAt, window.start) &&
        hasCome(window.line.start, line.start),
    ),
  );
}

/** Makes `window` one of `windows`, or fills up what was given in its place before. */
function place(window: Window, windows: Window[]): Piece {
  const { start, tokens, month } = window;
  const same = windows.find((one) => one.start.getTime() === start.getTime());
  if (same) return fillUp(same, start, tokens, month);
  const inside = windows.find(
    (one) => one.isWithoutTerm && isBefore(start, one.start) && one.end.getTime() === window.end.getTime(),
  );
  if (inside) return fillUp(inside, inside.start, tokens, month);
  windows.push(window);
  return { of: window, start, month, kind: 'full', tokens };
}

function fillUp(of: Window, start: Date, tokens: number, month: number): Piece {
  const had = of.tokens;
  of.tokens = Math.max(had, tokens);
  return { of, start, month, kind: 'delta', tokens: of.tokens - had };
}

/** The term itself, or the months of an annual one. */
function windowsOf(line: PaidLine, tokens: number): Window[] {
  const isWithoutTerm = line.kind === 'delta';
  if (line.interval !== 'year') {
    return [{ start: line.start, end: line.end, month: 0, line, tokens, isWithoutTerm }];
  }
  const windows: Window[] = [];
  let start = line.start;
  for (let month = 0; month < 12 && isBefore(start, line.end); month++) {
    const next = addMonths(line.start, month + 1);
    windows.push({
      start,
      end: new Date(Math.min(next.getTime(), line.end.getTime())),
      month,
      line,
      tokens,
      isWithoutTerm,
    });
    start = next;
  }
  return windows;
}

/**
 * What follows the running window of a change. A year: its months by the boundaries it had, or by those of the change
 * where it made the year of a month. A month: its share of what reaches beyond the running window, which is nothing
 * unless the anchor has moved.
 */
function windowsAfter(line: PaidLine, running: Window, windows: readonly Window[], tokens: number): Window[] {
  const isWithoutTerm = false;
  if (line.interval !== 'year') {
    const beyond = line.end.getTime() - running.end.getTime();
    const share = Math.floor(tokens * (beyond / (line.end.getTime() - line.start.getTime())));
    if (share <= 0) return [];
    return [{ start: running.end, end: line.end, month: 1, line, tokens: share, isWithoutTerm }];
  }
  const later = windows
    .filter(({ start, end }) => !isBefore(start, running.end) && hasCome(end, line.end))
    .sort((a, b) => a.start.getTime() - b.start.getTime());
  const boundaries = later.length > 0 ? later : windowsOf(line, tokens).slice(1);
  return boundaries.map(({ start, end }, index) => ({
    start: index === 0 ? running.end : start,
    end,
    month: index + 1,
    line,
    tokens,
    isWithoutTerm,
  }));
}

/** The money of a line over the allowances that it gives; the last one takes what does not divide. */
function withCost(line: PaidLine, offer: string, pieces: readonly Piece[]): Given[] {
  const all = pieces.filter(({ tokens }) => tokens > 0);
  const share = Math.floor(line.amountMinor / Math.max(1, all.length));
  return all.map(({ of, start, month, tokens, kind }, index) => ({
    key: month === 0 ? line.key : `${line.key}:m${month + 1}`,
    line,
    offer,
    window: { start, end: of.end },
    kind,
    tokens,
    costBasisMinor: index === all.length - 1 ? line.amountMinor - share * (all.length - 1) : share,
    of,
  }));
}
