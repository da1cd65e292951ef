import { createHmac } from 'node:crypto';

/** https://docs.stripe.com/webhooks#verify-manually */
export function signatureHeader(body: string, secret: string, timestampSeconds: number): string {
  const mac = createHmac('sha256', secret).update(`${timestampSeconds}.${body}`).digest('hex');
  return `t=${timestampSeconds},v1=${mac}`;
}
