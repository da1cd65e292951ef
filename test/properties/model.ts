// What a user's credits should be, told naively: a list of lots, looked through from the start each time. It shares
// no code with src/.

export type Plan = 'free' | 'pro' | 'enterprise';

export interface Lot {
  source: 'allowance' | 'bonus' | 'adjustment';
  amount: number;
  left: number;
  held: number;
  from: number;
  until: number | null;
  voided: boolean;
  /** An allowance that the next one has replaced, or that has expired. */
  over: boolean;
}

export interface Piece {
  lot: Lot;
  tokens: number;
}

export interface Spend {
  pieces: Piece[];
  overage: number;
  refunded: number;
  at: number;
}

export interface Reserve {
  pieces: Piece[];
  tokens: number;
  until: number;
  state: 'open' | 'settled' | 'expired' | 'late';
}

const DAY = 86_400_000;
const CREDITS: Record<Plan, number> = { free: 5, pro: 100, enterprise: 1000 };
const RANK = { allowance: 0, bonus: 1, adjustment: 2 };

/** The same day of a later month, or its last day. */
export function monthsAfter(start: number, n: number): number {
  const date = new Date(start);
  const lastDay = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + n + 1, 0)).getUTCDate();
  const day = Math.min(date.getUTCDate(), lastDay);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + n, day) + (start % DAY);
}

export class Model {
  lots: Lot[] = [];
  spends: Spend[] = [];
  reserves: Reserve[] = [];
  plan: Plan = 'free';
  planEnds: number | null = null;
  anchor: number;
  windowStart: number;
  windowEnd: number;
  lastFreeWindow = -1;
  used = 0;
  usedThisMonth = 0;

  constructor(
    readonly born: number,
    public now = born,
  ) {
    this.anchor = born;
    this.windowStart = born;
    this.windowEnd = born;
    this.becomeFree();
  }

  get available(): number {
    return this.lots.reduce((sum, lot) => sum + lot.left, 0);
  }
  get held(): number {
    return this.lots.reduce((sum, lot) => sum + lot.held, 0);
  }
  get metered(): boolean {
    return this.plan === 'enterprise';
  }

  private inOrder(): Lot[] {
    const when = (lot: Lot): number => lot.until ?? Number.POSITIVE_INFINITY;
    return this.lots
      .map((lot, index) => ({ lot, index }))
      .filter(({ lot }) => lot.left > 0)
      .sort(
        (a, b) =>
          (when(a.lot) === when(b.lot) ? 0 : when(a.lot) - when(b.lot)) ||
          RANK[a.lot.source] - RANK[b.lot.source] ||
          a.lot.from - b.lot.from ||
          a.index - b.index,
      )
      .map(({ lot }) => lot);
  }

  private take(tokens: number): Piece[] {
    const pieces: Piece[] = [];
    for (const lot of this.inOrder()) {
      const part = Math.min(lot.left, tokens);
      if (part === 0) break;
      lot.left -= part;
      tokens -= part;
      pieces.push({ lot, tokens: part });
    }
    return pieces;
  }

  private giveBack({ lot, tokens }: Piece): void {
    const gone = lot.voided || (lot.until !== null && lot.until <= this.now);
    if (!gone) lot.left += tokens;
  }

  consume(tokens: number): Spend | null {
    if (tokens > this.available && !this.metered) return null;
    const pieces = this.take(Math.min(tokens, this.available));
    return this.spent(pieces, tokens);
  }

  private spent(pieces: Piece[], tokens: number): Spend {
    const paid = pieces.reduce((sum, piece) => sum + piece.tokens, 0);
    const spend = { pieces, overage: tokens - paid, refunded: 0, at: this.now };
    this.spends.push(spend);
    this.used += tokens;
    this.usedThisMonth += tokens;
    return spend;
  }

  refundable(spend: Spend): number {
    return spend.pieces.reduce((sum, piece) => sum + piece.tokens, spend.overage) - spend.refunded;
  }

  /** One token at a time from the end: slow and plain. */
  refund(spend: Spend, tokens: number): void {
    const order: (Lot | null)[] = [null, ...spend.pieces.map((piece) => piece.lot).reverse()];
    const sizes = [spend.overage, ...spend.pieces.map((piece) => piece.tokens).reverse()];
    let from = spend.refunded;
    let left = tokens;
    order.forEach((lot, index) => {
      const size = sizes[index]!;
      const skipped = Math.min(from, size);
      from -= skipped;
      const back = Math.min(left, size - skipped);
      left -= back;
      if (lot && back > 0) this.giveBack({ lot, tokens: back });
    });
    spend.refunded += tokens;
    this.used -= tokens;
    if (spend.at >= this.windowStart) this.usedThisMonth = Math.max(0, this.usedThisMonth - tokens);
  }

  hold(tokens: number, seconds: number): Reserve | null {
    if (tokens > this.available && !this.metered) return null;
    const pieces = this.take(Math.min(tokens, this.available));
    for (const piece of pieces) piece.lot.held += piece.tokens;
    const reserve: Reserve = { pieces, tokens, until: this.now + seconds * 1000, state: 'open' };
    this.reserves.push(reserve);
    return reserve;
  }

  /** @returns false where it is refused for lack of credits */
  capture(reserve: Reserve, tokens: number): boolean {
    if (reserve.state === 'expired') {
      if (tokens > 0 && !this.consume(tokens)) return false;
      reserve.state = tokens > 0 ? 'late' : 'expired';
      return true;
    }
    const inHold = reserve.pieces.reduce((sum, piece) => sum + piece.tokens, 0);
    const more = Math.max(0, tokens - inHold);
    if (more > this.available && !this.metered) return false;
    const spentPieces: Piece[] = [];
    let left = Math.min(tokens, inHold);
    for (const piece of reserve.pieces) {
      const part = Math.min(left, piece.tokens);
      left -= part;
      piece.lot.held -= piece.tokens;
      if (part > 0) spentPieces.push({ lot: piece.lot, tokens: part });
      if (part < piece.tokens) this.giveBack({ lot: piece.lot, tokens: piece.tokens - part });
    }
    for (const piece of this.take(Math.min(more, this.available))) {
      const same = spentPieces.find((other) => other.lot === piece.lot);
      if (same) same.tokens += piece.tokens;
      else spentPieces.push(piece);
    }
    if (tokens > 0) this.spent(spentPieces, tokens);
    reserve.state = 'settled';
    return true;
  }

  release(reserve: Reserve): void {
    if (reserve.state !== 'open') return;
    for (const piece of reserve.pieces) {
      piece.lot.held -= piece.tokens;
      this.giveBack(piece);
    }
    reserve.state = 'settled';
  }

  grant(source: Lot['source'], tokens: number, until: number | null): void {
    this.lots.push({
      source,
      amount: tokens,
      left: tokens,
      held: 0,
      from: this.now,
      until,
      voided: false,
      over: false,
    });
  }

  void(lot: Lot): void {
    lot.left = 0;
    lot.voided = true;
  }

  private voidAllowances(): void {
    for (const lot of this.lots) if (lot.source === 'allowance' && !lot.over && !lot.voided) this.void(lot);
  }

  private allowance(tokens: number, start: number, end: number): void {
    for (const lot of this.lots) {
      if (lot.source !== 'allowance' || lot.over || lot.voided) continue;
      lot.left = 0;
      lot.over = true;
      if (lot.until === null || lot.until > this.now) lot.until = this.now;
    }
    this.windowStart = start;
    this.windowEnd = end;
    this.usedThisMonth = 0;
    this.grant('allowance', tokens, end);
  }

  private window(anchor: number): [number, number] {
    let n = 0;
    while (monthsAfter(anchor, n + 1) <= this.now) n++;
    return [monthsAfter(anchor, n), monthsAfter(anchor, n + 1)];
  }

  becomeFree(): void {
    this.plan = 'free';
    this.planEnds = null;
    this.anchor = this.born;
    [this.windowStart, this.windowEnd] = this.window(this.born);
    this.usedThisMonth = 0;
    this.landFree();
  }

  private landFree(): void {
    if (this.lastFreeWindow >= this.windowStart) return;
    this.lastFreeWindow = this.windowStart;
    this.allowance(CREDITS.free * 2000, this.windowStart, this.windowEnd);
  }

  /** @returns false for the plan that the user has already */
  changePlan(plan: Plan, days: number | null): boolean {
    if (plan === this.plan) return false;
    this.voidAllowances();
    if (plan === 'free') {
      this.becomeFree();
      return true;
    }
    const ends = days === null ? (plan === 'pro' ? this.now + 30 * DAY : null) : this.now + days * DAY;
    this.plan = plan;
    this.planEnds = ends;
    this.anchor = this.now;
    const end = plan === 'pro' && ends !== null ? ends : monthsAfter(this.now, 1);
    this.allowance(CREDITS[plan] * 2000, this.now, end);
    return true;
  }

  renew(days: number): boolean {
    if (this.plan === 'free') return false;
    this.planEnds = (this.planEnds ?? this.now) + days * DAY;
    this.allowance(CREDITS[this.plan] * 2000, this.now, this.planEnds);
    return true;
  }

  /** Lives through the time up to `until`, one due thing after another. */
  advance(until: number): void {
    for (;;) {
      const due: { at: number; rank: number; act: () => void }[] = [];
      for (const reserve of this.reserves) {
        if (reserve.state !== 'open') continue;
        const expire = (): void => {
          this.release(reserve);
          reserve.state = 'expired';
        };
        due.push({ at: reserve.until, rank: 0, act: expire });
      }
      for (const lot of this.lots) {
        if (lot.over || lot.voided || lot.until === null) continue;
        const expire = (): void => {
          lot.left = 0;
          lot.over = true;
        };
        due.push({ at: lot.until, rank: 1, act: expire });
      }
      if (this.planEnds !== null) {
        const lapse = (): void => {
          this.voidAllowances();
          this.becomeFree();
        };
        due.push({ at: this.planEnds, rank: 2, act: lapse });
      }
      if (this.plan !== 'pro') due.push({ at: this.windowEnd, rank: 3, act: () => this.nextWindow() });
      const next = due.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at || a.rank - b.rank)[0];
      if (!next) break;
      this.now = next.at;
      next.act();
    }
    this.now = until;
  }

  private nextWindow(): void {
    const [start, end] = this.window(this.anchor);
    if (this.plan === 'free') {
      this.windowStart = start;
      this.windowEnd = end;
      this.landFree();
    } else {
      this.allowance(CREDITS[this.plan] * 2000, start, end);
    }
  }
}
