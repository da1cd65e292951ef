/** The folder of a local Tollgate (TOLLGATE_HOME): secrets made once, and dev.json for people and tools. */
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

/** What a local Tollgate tells about itself in dev.json. */
const devFileSchema = z.object({
  url: z.string(),
  /** Null with a real Stripe account. */
  sandboxUrl: z.string().nullable(),
  databaseUrl: z.string(),
  /** Scopes consume, read, billing. */
  apiKey: z.string(),
  /** All scopes. */
  adminApiKey: z.string(),
  /** Null where users are known by AUTH_JWKS_URL. */
  jwtSecret: z.string().nullable(),
  webhookSecret: z.string(),
  pid: z.number(),
});
export type DevFile = z.infer<typeof devFileSchema>;

const secretsSchema = z.object({ jwtSecret: z.string(), webhookSecret: z.string() });
export type DevSecrets = z.infer<typeof secretsSchema>;

/** Owner only: both files hold keys. */
const FILE_MODE = 0o600;

export function openDevHome(folder: string) {
  // Others may pass through (PostgreSQL runs as a user of its own under root) but not list.
  mkdirSync(folder, { recursive: true, mode: 0o711 });
  const secretsFile = join(folder, 'secrets.json');
  const devFile = join(folder, 'dev.json');
  return {
    databaseFolder: join(folder, 'postgres'),
    /** The sandbox's customers, subscriptions, clock …, kept over a restart. */
    sandboxFile: join(folder, 'sandbox.json'),
    devFile,
    /** Made at the first start and kept, so that a key or a token outlives a restart. */
    readSecrets(): DevSecrets {
      if (existsSync(secretsFile)) return secretsSchema.parse(JSON.parse(readFileSync(secretsFile, 'utf8')));
      const secrets = {
        jwtSecret: randomBytes(32).toString('base64url'),
        webhookSecret: `whsec_${randomBytes(32).toString('base64url')}`,
      };
      write(secretsFile, secrets);
      return secrets;
    },
    /** Of the last start, if it left one that we understand. */
    readDevFile(): DevFile | undefined {
      if (!existsSync(devFile)) return undefined;
      const parsed = devFileSchema.safeParse(JSON.parse(readFileSync(devFile, 'utf8')));
      return parsed.success ? parsed.data : undefined;
    },
    writeDevFile(content: DevFile): void {
      write(devFile, content);
    },
  };
}

export type DevHome = ReturnType<typeof openDevHome>;

/** By renaming, so that nobody reads half a file. */
function write(file: string, content: object): void {
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(content, null, 2)}\n`, { mode: FILE_MODE });
  chmodSync(draft, FILE_MODE);
  renameSync(draft, file);
}
