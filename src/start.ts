/** `npm start`: everything on one machine, and what one needs to try it. */
import { SignJWT } from 'jose';
import { readEnvironment, startFailure } from './config.ts';
import type { DevFile } from './dev-home.ts';
import { type Local, startLocal } from './local.ts';

const DEMO_USER = 'demo';

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** For the first try at the /api routes; a wall-clock date, as tokens are checked by one. */
function demoToken(secret: string): Promise<string> {
  return new SignJWT()
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(DEMO_USER)
    .setExpirationTime('30d')
    .sign(new TextEncoder().encode(secret));
}

async function introduce(dev: DevFile, devFile: string): Promise<void> {
  const auth = `-H 'Authorization: Bearer ${dev.apiKey}'`;
  const json = `-H 'Content-Type: application/json'`;
  say(`
Tollgate is running.
  API              ${dev.url}   (reference: ${dev.url}/docs)
  Stripe           ${dev.sandboxUrl ? `${dev.sandboxUrl}   (built-in sandbox; set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET for a real account)` : 'your account'}
  database         ${dev.databaseUrl}
  API key          ${dev.apiKey}
  admin API key    ${dev.adminApiKey}`);
  if (dev.jwtSecret) say(`  JWT of "${DEMO_USER}"    ${await demoToken(dev.jwtSecret)}`);
  say(`  all of it in     ${devFile}

Try it: a new user with 5 credits, then one credit less.
  curl -s ${dev.url}/v1/users ${auth} ${json} -d '{"userId":"${DEMO_USER}"}'
  curl -s ${dev.url}/v1/credits/consume ${auth} ${json} -H "Idempotency-Key: $RANDOM" -d '{"userId":"${DEMO_USER}"}'

Ctrl-C stops everything.`);
}

/** Ctrl-C reaches us from the terminal and again from npm: only a later signal means "at once". */
const REPEAT_MS = 1_000;

function stopOnSignal(local: Local): void {
  let stoppingSince: number | undefined;
  const stop = async (): Promise<void> => {
    if (stoppingSince !== undefined) {
      if (performance.now() - stoppingSince > REPEAT_MS) process.exit(130);
      return;
    }
    stoppingSince = performance.now();
    say('\nStopping …');
    try {
      await local.stop();
      process.exit(0);
    } catch (error) {
      process.stderr.write(`${String(error)}\n`);
      process.exit(1);
    }
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
}

try {
  const environment = readEnvironment();
  const local = await startLocal({ environment, home: environment.TOLLGATE_HOME ?? '.tollgate', say });
  stopOnSignal(local);
  await introduce(local.dev, local.devFile);
} catch (error) {
  process.stderr.write(`${startFailure(error)}\n`);
  process.exit(1);
}
