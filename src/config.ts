/** The only reader of process.env. Refuses to start with one line per fault that says what to set. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { type Catalogue, DEFAULT_CATALOGUE, FREE_PLAN } from './domain/plans.ts';

/** An empty variable counts as one that is not set: `STRIPE_SECRET_KEY=` must never mean "no secret needed". */
const optional = <Schema extends z.ZodType>(schema: Schema) =>
  z.preprocess((value) => (value === '' ? undefined : value), schema.optional());

const port = z.coerce.number().int().min(0).max(65_535);
const url = (protocols: RegExp) => z.url({ protocol: protocols });

const environmentSchema = z.object({
  DATABASE_URL: optional(url(/^postgres(ql)?$/)),
  REDIS_URL: optional(url(/^rediss?$/)),
  STRIPE_SECRET_KEY: optional(
    z.string().regex(/^(sk|rk)_(test|live)_\S+$/, 'must look like sk_test_… or sk_live_…'),
  ),
  STRIPE_WEBHOOK_SECRET: optional(
    z
      .string()
      .transform((text) => text.split(',').map((secret) => secret.trim()))
      .pipe(z.array(z.string().regex(/^whsec_\S+$/, 'must look like whsec_…, several separated by commas'))),
  ),
  STRIPE_API_BASE: optional(url(/^https?$/)),
  AUTH_JWT_SECRET: optional(z.string().min(32, 'must have at least 32 characters (RFC 7518, 3.2)')),
  AUTH_JWKS_URL: optional(url(/^https?$/)),
  AUTH_JWT_ISSUER: optional(z.string()),
  AUTH_JWT_AUDIENCE: optional(z.string()),
  PLANS_FILE: optional(z.string()),
  WORKFLOW_RUNNER_URL: optional(url(/^https?$/)),
  WORKFLOW_RUNNER_SECRET: optional(
    z.string().regex(/^whsec_[A-Za-z0-9+/=]{32,}$/, 'must be whsec_ and base64'),
  ),
  PORT: optional(port),
  OPS_PORT: optional(port),
  HOST: optional(z.string()),
  PUBLIC_URL: optional(url(/^https?$/)),
  UPGRADE_URL: optional(url(/^https?$/)),
  SANDBOX_PORT: optional(port),
  TOLLGATE_HOME: optional(z.string()),
  LOG_LEVEL: optional(z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])),
  RATE_LIMIT_USER_PER_MINUTE: optional(z.coerce.number().int().min(1)),
  RATE_LIMIT_KEY_PER_SECOND: optional(z.coerce.number().int().min(1)),
});

/** What the environment says, parsed; nothing is required yet. */
export type Environment = z.infer<typeof environmentSchema>;

export interface Config {
  databaseUrl: string;
  redisUrl: string | undefined;
  stripe: { secretKey: string; webhookSecrets: string[]; apiBase: string | undefined };
  auth: {
    jwtSecret: string | undefined;
    jwksUrl: string | undefined;
    issuer: string | undefined;
    audience: string | undefined;
  };
  workflowRunner: { url: string; secret: string } | undefined;
  port: number;
  /** A port of its own for /healthz and /readyz; without one they are on the main port. */
  opsPort: number | undefined;
  host: string;
  publicUrl: string;
  upgradeUrl: string;
  logLevel: string;
  rateLimits: { userPerMinute: number; keyPerSecond: number };
}

/** A start that was refused; the message has one line per thing to set. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** What a start that failed leaves on stderr: for a setting, the lines that say what to set; else the error. */
export function startFailure(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

export function readEnvironment(source: NodeJS.ProcessEnv = process.env): Environment {
  const parsed = environmentSchema.safeParse(source);
  if (parsed.success) return parsed.data;
  throw new ConfigError(
    parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('\n'),
  );
}

/** @throws ConfigError naming every variable that is missing */
export function configOf(environment: Environment): Config {
  const missing: string[] = [];
  const need = <T>(value: T | undefined, line: string): T | undefined => {
    if (value === undefined) missing.push(line);
    return value;
  };
  const databaseUrl = need(
    environment.DATABASE_URL,
    'DATABASE_URL: set it to postgresql://user:password@host/database',
  );
  const secretKey = need(
    environment.STRIPE_SECRET_KEY,
    'STRIPE_SECRET_KEY: set it to the sk_… key of your Stripe account',
  );
  const webhookSecrets = need(
    environment.STRIPE_WEBHOOK_SECRET,
    'STRIPE_WEBHOOK_SECRET: set it to the whsec_… secret of your webhook endpoint',
  );
  need(
    environment.AUTH_JWT_SECRET ?? environment.AUTH_JWKS_URL,
    'AUTH_JWT_SECRET or AUTH_JWKS_URL: set one of them',
  );
  if (environment.WORKFLOW_RUNNER_URL) {
    need(
      environment.WORKFLOW_RUNNER_SECRET,
      'WORKFLOW_RUNNER_SECRET: set it to whsec_ and base64 of 24 or more bytes',
    );
  }
  if (missing.length > 0 || !databaseUrl || !secretKey || !webhookSecrets)
    throw new ConfigError(missing.join('\n'));
  const listenPort = environment.PORT ?? 3000;
  const publicUrl = environment.PUBLIC_URL ?? `http://127.0.0.1:${listenPort}`;
  return {
    databaseUrl,
    redisUrl: environment.REDIS_URL,
    stripe: { secretKey, webhookSecrets, apiBase: environment.STRIPE_API_BASE },
    auth: {
      jwtSecret: environment.AUTH_JWT_SECRET,
      jwksUrl: environment.AUTH_JWKS_URL,
      issuer: environment.AUTH_JWT_ISSUER,
      audience: environment.AUTH_JWT_AUDIENCE,
    },
    workflowRunner:
      environment.WORKFLOW_RUNNER_URL && environment.WORKFLOW_RUNNER_SECRET
        ? { url: environment.WORKFLOW_RUNNER_URL, secret: environment.WORKFLOW_RUNNER_SECRET }
        : undefined,
    port: listenPort,
    opsPort: environment.OPS_PORT,
    host: environment.HOST ?? '127.0.0.1',
    publicUrl,
    upgradeUrl: environment.UPGRADE_URL ?? `${publicUrl}/v1/plans`,
    logLevel: environment.LOG_LEVEL ?? 'info',
    rateLimits: {
      userPerMinute: environment.RATE_LIMIT_USER_PER_MINUTE ?? 600,
      keyPerSecond: environment.RATE_LIMIT_KEY_PER_SECOND ?? 50_000,
    },
  };
}

const credits = z.int().min(0).max(1_000_000_000);
const catalogueSchema = z.strictObject({
  plans: z.record(
    z.string().regex(/^[a-z][a-z0-9_]*$/),
    z.strictObject({
      creditsPerPeriod: z.int().min(1).max(1_000_000_000),
      reset: z.enum(['clock', 'invoice']),
      rollover: z.union([z.literal('none'), z.strictObject({ cappedCredits: credits })]),
      overage: z.enum(['block', 'meter']),
      prices: z.strictObject({
        monthly: z.string().min(1).exactOptional(),
        annual: z.string().min(1).exactOptional(),
      }),
      graceDays: z.int().min(0).max(90),
    }),
  ),
  packs: z.record(
    z.string(),
    z.strictObject({ credits: z.int().min(1).max(1_000_000_000), price: z.string().min(1) }),
  ),
  features: z.record(z.string(), z.strictObject({ credits: z.int().min(1).max(1_000_000_000) })),
});

/** The catalogue of PLANS_FILE, else the built-in one. */
export function readCatalogue({ PLANS_FILE: file }: Pick<Environment, 'PLANS_FILE'>): Catalogue {
  if (file === undefined) return DEFAULT_CATALOGUE;
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new ConfigError(`PLANS_FILE: ${file} is not readable JSON (${String(error)})`);
  }
  const parsed = catalogueSchema.safeParse(content);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `PLANS_FILE: ${issue.path.join('.')}: ${issue.message}`);
    throw new ConfigError(lines.join('\n'));
  }
  if (parsed.data.plans[FREE_PLAN]?.reset !== 'clock') {
    throw new ConfigError(`PLANS_FILE: plans.${FREE_PLAN} must be there, with "reset": "clock"`);
  }
  return parsed.data;
}
