import { createHmac } from 'node:crypto';

/** One v1 for each secret: two while a secret rolls (https://docs.stripe.com/webhooks#verify-manually). */
export function signatureHeader(body: string, secrets: readonly string[], timestampSeconds: number): string {
  const signatures = secrets.map((secret) => {
    const mac = createHmac('sha256', secret).update(`${timestampSeconds}.${body}`).digest('hex');
    return `v1=${mac}`;
  });
  return [`t=${timestampSeconds}`, ...signatures].join(',');
}
