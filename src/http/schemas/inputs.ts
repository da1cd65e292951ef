/** Schemas of what callers send: the limits of design.md 14, each with a message that says what is allowed. */
import { z } from 'zod';
import { TOKENS_PER_CREDIT } from '../../domain/plans.ts';
import { MAX_PERIOD_DAYS, MAX_TOKENS, USER_ID } from '../../lib/limits.ts';

const CREDITS_MAX = MAX_TOKENS / TOKENS_PER_CREDIT;
const HOLD_SECONDS_MAX = 86_400;
const METADATA_KEYS_MAX = 50;
const METADATA_DEPTH_MAX = 5;
const METADATA_BYTES_MAX = 8_192;
const ID_LENGTH_MAX = 1_500;
const DEFAULT_PAGE = 20;

export const userId = z
  .string()
  .regex(USER_ID, 'must be 1 to 255 visible ASCII characters')
  .meta({ id: 'UserId', description: "The app's own opaque id of the user.", example: 'user_42' });

export const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/;
export const IDEMPOTENCY_KEY_RULE = 'must be 1 to 255 printable ASCII characters';

/** What the Idempotency-Key header is to a request by itself. */
export const itemKey = z.string().regex(IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_RULE);

/** An id of ours. One that is none of ours is simply not found. */
export const id = z
  .string()
  .max(ID_LENGTH_MAX)
  .regex(/^[\x21-\x7e]+$/, 'must be an id that this service gave out');

const wholeNumber = (min: number, max: number) =>
  z
    .int(`must be a whole number from ${min} to ${max}`)
    .min(min, `must be at least ${min}`)
    .max(max, `must be at most ${max}`);

export const tokens = wholeNumber(1, MAX_TOKENS);
export const credits = wholeNumber(1, CREDITS_MAX);
/** A capture may take nothing. */
export const capturedTokens = wholeNumber(0, MAX_TOKENS);
export const capturedCredits = wholeNumber(0, CREDITS_MAX);
export const expiresInSeconds = wholeNumber(1, HOLD_SECONDS_MAX);
export const periodDays = wholeNumber(1, MAX_PERIOD_DAYS);

/** A name of the catalogue: plan, pack or feature. Whether it is there is for the catalogue to say. */
export const catalogueName = z.string().regex(/^[\w.:-]{1,64}$/, 'must be a name of the catalogue');

export const reason = z
  .string()
  .regex(/\S/, 'must say something')
  .max(500, 'must have at most 500 characters')
  .meta({ description: 'Why; kept in the ledger and the audit.' });

export const httpUrl = z.url({ protocol: /^https?$/, message: 'must be an http or https URL' }).max(2_000);

export const timestamp = z.iso
  .datetime({ offset: true, message: 'must be an ISO 8601 time with a zone, e.g. 2026-01-31T00:00:00Z' })
  .transform((text) => new Date(text))
  .refine((date) => !Number.isNaN(date.getTime()), 'is not a time that exists');

export const metadata = z
  .record(z.string(), z.unknown(), 'must be an object')
  .superRefine((value, issues) => {
    const fault = metadataFault(value);
    if (fault) issues.addIssue({ code: 'custom', message: fault });
  })
  .meta({
    description: `Kept with the entry. At most ${METADATA_KEYS_MAX} fields, ${METADATA_DEPTH_MAX} levels, ${METADATA_BYTES_MAX} bytes.`,
    example: { model: 'gpt-5', promptTokens: 812 },
  });

function metadataFault(value: Record<string, unknown>): string | undefined {
  if (Object.keys(value).length > METADATA_KEYS_MAX) return `must have at most ${METADATA_KEYS_MAX} fields`;
  if (depthOf(value) > METADATA_DEPTH_MAX) return `must be at most ${METADATA_DEPTH_MAX} levels deep`;
  if (Buffer.byteLength(JSON.stringify(value)) > METADATA_BYTES_MAX) {
    return `must have at most ${METADATA_BYTES_MAX} bytes as JSON`;
  }
  return undefined;
}

/** The whole body is known to be at most 32 levels deep. */
function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

/** A number in a query string: digits only, so that `1e2`, ` 5` and `` are no numbers. */
export const limit = z
  .string('must be given once')
  .regex(/^[1-9]\d{0,2}$/, 'must be a whole number from 1 to 100')
  .transform(Number)
  .refine((value) => value <= 100, 'must be a whole number from 1 to 100')
  .default(DEFAULT_PAGE)
  .meta({ type: 'integer', minimum: 1, maximum: 100, default: DEFAULT_PAGE });

export const cursor = z
  .string('must be given once')
  .max(1_000)
  .regex(/^[\w-]+$/, 'must be the nextCursor of an earlier page')
  .refine(isStorable, 'must be the nextCursor of an earlier page')
  .meta({ description: '`nextCursor` of the page before.' });

/** What it says goes into a query: no NUL and no half of a surrogate pair, which JSON can write as escapes. */
function isStorable(value: string): boolean {
  return !/\\u(?:0000|d[89a-f])/i.test(Buffer.from(value, 'base64url').toString());
}

export const page = z.strictObject({ limit, cursor: cursor.optional() });

/** The fields of which exactly one says how much; none means one credit. */
export const cost = {
  credits: credits.optional(),
  tokens: tokens.optional(),
  feature: catalogueName.optional(),
};

/** Refuses all but one of `names`, naming each that is too many; and none at all where one is needed. */
export function oneOf(names: readonly string[], { needed }: { needed: boolean }) {
  const message = `give ${needed ? 'exactly' : 'at most'} one of ${names.join(', ')}`;
  return ({ value, issues }: z.core.ParsePayload<Record<string, unknown>>): void => {
    let given = 0;
    for (const name of names) if (value[name] !== undefined) given++;
    if (given === 1 || (given === 0 && !needed)) return;
    for (const name of names) {
      if (given > 0 && value[name] === undefined) continue;
      issues.push({ code: 'custom', path: [name], message, input: value, continue: true });
    }
  };
}

export const userParams = z.strictObject({ userId });
