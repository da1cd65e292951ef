import { isDeepStrictEqual } from 'node:util';
import { DAY } from '../calendar.ts';
import { StripeError } from '../errors.ts';

export interface StoredAnswer {
  status: number;
  body: string;
}

const MAX_KEY_LENGTH = 255;

interface Entry {
  request: unknown;
  at: number;
  answer: StoredAnswer | null;
}

/** v1 idempotency (https://docs.stripe.com/api/idempotent_requests): answers are kept for 24 hours. */
export class IdempotencyKeys {
  readonly #entries = new Map<string, Entry>();

  /** The stored answer, or null after having claimed the key for this request. */
  claim(key: string, request: unknown, now: number): StoredAnswer | null {
    if (key.length > MAX_KEY_LENGTH)
      throw new StripeError(
        400,
        'idempotency_error',
        `Idempotency keys must be ${MAX_KEY_LENGTH} characters or fewer.`,
      );
    const entry = this.#entries.get(key);
    if (entry === undefined || now - entry.at >= DAY) {
      this.#forget(now);
      this.#entries.set(key, { request, at: now, answer: null });
      return null;
    }
    if (!isDeepStrictEqual(entry.request, request))
      throw new StripeError(
        400,
        'idempotency_error',
        `Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '${key}' if you meant to execute a different request.`,
      );
    if (entry.answer === null)
      throw new StripeError(
        409,
        'idempotency_error',
        `There is currently another in-progress request using this Idempotent Key (${key}). Please try again later.`,
        { code: 'idempotency_key_in_use' },
      );
    return entry.answer;
  }

  /** Oldest first, so the first that is still good ends the search. */
  #forget(now: number): void {
    for (const [key, { at }] of this.#entries) {
      if (now - at < DAY) return;
      this.#entries.delete(key);
    }
  }

  store(key: string, answer: StoredAnswer): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) entry.answer = answer;
  }

  /** A request refused before it was executed does not use up its key. */
  release(key: string): void {
    this.#entries.delete(key);
  }

  /** Answers for a snapshot; what is still being executed will not have been when it is read. */
  save(): [string, { request: unknown; at: number; answer: StoredAnswer }][] {
    return [...this.#entries].flatMap(([key, { request, at, answer }]) =>
      answer === null ? [] : [[key, { request, at, answer }]],
    );
  }

  restore(entries: readonly [string, Entry][]): void {
    for (const [key, entry] of entries) this.#entries.set(key, entry);
  }

  clear(): void {
    this.#entries.clear();
  }
}
