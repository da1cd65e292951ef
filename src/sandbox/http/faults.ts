import { StripeError } from '../errors.ts';
import { mulberry32, type Random } from '../random.ts';

export interface FaultSettings {
  seed: number;
  latencyMs: number;
  /** 500 before anything is done. */
  errorRate: number;
  /** 500 although everything is done; the key keeps this answer, as Stripe's do. */
  errorAfterCommitRate: number;
  /** The connection breaks although everything is done. */
  resetAfterCommitRate: number;
  /** 429 `rate_limit` before anything is done. */
  rateLimitRate: number;
  /** 429 `lock_timeout` before anything is done. */
  lockTimeoutRate: number;
}

const NO_FAULTS: FaultSettings = {
  seed: 1,
  latencyMs: 0,
  errorRate: 0,
  errorAfterCommitRate: 0,
  resetAfterCommitRate: 0,
  rateLimitRate: 0,
  lockTimeoutRate: 0,
};

export interface Fault {
  latencyMs: number;
  /** The answer instead of doing anything. */
  refusal: StripeError | null;
  failsAfterCommit: boolean;
  resetsAfterCommit: boolean;
}

export const toldToFail = () =>
  new StripeError(500, 'api_error', 'The sandbox was told to fail (POST /_sandbox/faults).');
// stripe-node gives up on a 429 unless the header Stripe-Should-Retry tells it to try again (stripe.md A4).
const limited = () =>
  new StripeError(
    429,
    'invalid_request_error',
    'Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.',
    { code: 'rate_limit' },
  );
const locked = () =>
  new StripeError(
    429,
    'invalid_request_error',
    'This object cannot be accessed right now because another API request or Stripe process is currently accessing it. If you see this error intermittently, retry the request. If you see this error frequently and are making multiple concurrent requests to a single object, make your requests serially or at a lower rate. For more details, see https://stripe.com/docs/rate-limits#object-lock-timeouts.',
    { code: 'lock_timeout' },
  );

/** How badly the API itself behaves: late, failing, or silent after it has done the work. */
export class Faults {
  #settings: FaultSettings = NO_FAULTS;
  #random: Random = mulberry32(NO_FAULTS.seed);
  /** Dice of their own for what came later, so that a seed goes on meaning what it meant. */
  #others: Random = mulberry32(~NO_FAULTS.seed);

  get settings(): FaultSettings {
    return this.#settings;
  }

  configure(changes: Partial<FaultSettings>): void {
    this.#settings = { ...this.#settings, ...changes };
    if (changes.seed !== undefined) this.#seed(changes.seed);
  }

  reset(): void {
    this.#settings = NO_FAULTS;
    this.#seed(NO_FAULTS.seed);
  }

  #seed(seed: number): void {
    this.#random = mulberry32(seed);
    this.#others = mulberry32(~seed);
  }

  /** Decided when a request arrives, in order of arrival, so that a seed repeats a run. */
  draw(): Fault {
    const { latencyMs, ...rates } = this.#settings;
    const fails = this.#random() < rates.errorRate;
    const resetsAfterCommit = this.#random() < rates.resetAfterCommitRate;
    const isLimited = this.#others() < rates.rateLimitRate;
    const isLocked = this.#others() < rates.lockTimeoutRate;
    const failsAfterCommit = this.#others() < rates.errorAfterCommitRate;
    const refusal = fails ? toldToFail() : isLimited ? limited() : isLocked ? locked() : null;
    return { latencyMs, refusal, failsAfterCommit, resetsAfterCommit };
  }
}
