import { signatureHeader } from './signature.ts';
import type { SandboxEvent, WebhookEndpoint } from './wire.ts';
import { API_VERSION, type World } from './world.ts';

const TIMEOUT_MS = 10_000;

/** A receiver inside this process, such as a listening `stripe listen`: like an endpoint, but not stored and never retried. */
export interface Sink {
  /** An account may have been told one secret before another; all of them sign. */
  secret: string | readonly string[];
  enabledEvents: readonly string[];
  /** Of the envelope; null or absent = the account's default. */
  apiVersion?: string | null;
  /** Resolves to the HTTP status that the receiver answered with; a rejection counts as a failed delivery. */
  send(payload: string, headers: Record<string, string>, event: SandboxEvent): Promise<number>;
}

/** Plain data, so that what is still owed survives a restart. */
export interface Delivery {
  id: string;
  event: string;
  /** A webhook endpoint or a sink. */
  target: string;
  attempts: number;
  firstAt: number;
  /** Sinks and what a person sends again get one attempt. */
  once: boolean;
  /** Waits for its next attempt, which the scheduler knows. */
  waiting: boolean;
}

function wants(enabled: readonly string[], type: string): boolean {
  return enabled.includes('*') || enabled.includes(type);
}

export function wantsEvent(target: WebhookEndpoint | Sink, type: string): boolean {
  if ('enabledEvents' in target) return wants(target.enabledEvents, type);
  return target.status === 'enabled' && wants(target.enabled_events, type);
}

function secretsOf(world: World, target: WebhookEndpoint | Sink): readonly string[] {
  if ('secret' in target && 'send' in target)
    return typeof target.secret === 'string' ? [target.secret] : target.secret;
  const { webhookSecrets, rollingSecrets } = world.state;
  const current = webhookSecrets.get(target.id) ?? '';
  const rolled = rollingSecrets.get(target.id);
  return rolled !== undefined && rolled.expiresAt > world.clock.now() ? [current, rolled.secret] : [current];
}

function versionOf(target: WebhookEndpoint | Sink): string {
  return ('send' in target ? target.apiVersion : target.api_version) ?? API_VERSION;
}

/** One attempt; whether the answer was a 2xx. Each has a signature of its own time. */
export async function post(
  world: World,
  target: WebhookEndpoint | Sink,
  event: SandboxEvent,
): Promise<boolean> {
  const body = JSON.stringify({ ...event, api_version: versionOf(target) }, null, 2);
  const timestamp = Math.floor(world.clock.wallClock() / 1000);
  const headers = {
    'Content-Type': 'application/json; charset=utf-8',
    'User-Agent': 'Stripe/1.0 (+https://stripe.com/docs/webhooks)',
    'Stripe-Signature': signatureHeader(body, secretsOf(world, target), timestamp),
  };
  if ('send' in target) {
    const status = await target.send(body, headers, event);
    return status >= 200 && status < 300;
  }
  return postOverHttp(target.url, body, headers);
}

async function postOverHttp(url: string, body: string, headers: Record<string, string>): Promise<boolean> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers,
      body,
      // A redirect is a failed delivery (https://docs.stripe.com/webhooks#disable-logic).
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    await response.arrayBuffer();
    return response.ok;
  } catch (error) {
    // An endpoint that is down is what the retries are for; anything else is a fault of ours.
    if (error instanceof TypeError || (error instanceof Error && error.name === 'TimeoutError')) return false;
    throw error;
  }
}

/** The same event with the object as an earlier event showed it. */
export function olderView(world: World, event: SandboxEvent): SandboxEvent {
  const id = 'id' in event.data.object ? event.data.object.id : undefined;
  for (const earlier of world.state.events.values()) {
    if (earlier.id === event.id) break;
    if (id !== undefined && 'id' in earlier.data.object && earlier.data.object.id === id)
      return { ...event, data: earlier.data };
  }
  return event;
}
