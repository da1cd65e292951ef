import { signatureHeader } from '../signature.ts';
import type { SandboxEvent } from '../wire.ts';
import type { World } from '../world.ts';
import type { EventSink, SinkHost } from './tunnel.ts';

/** Tells sinks of every event, signed as a delivery is. */
export function eventSinks(world: World, onError: (error: unknown) => void): SinkHost {
  const sinks = new Set<EventSink>();
  const before = world.onEvent;
  const tell = (event: SandboxEvent): void => {
    const payload = JSON.stringify(event, null, 2);
    const timestamp = Math.floor(world.clock.wallClock() / 1000);
    for (const { send, secret } of sinks)
      send(payload, {
        'Content-Type': 'application/json; charset=utf-8',
        'Stripe-Signature': signatureHeader(payload, secret, timestamp),
        'User-Agent': 'Stripe/1.0 (+https://stripe.com/docs/webhooks)',
      }).catch(onError);
  };
  world.onEvent = (event) => {
    before(event);
    // After the answer to the API call, and with what the call still does to the event.
    setImmediate(() => tell(event));
  };
  return {
    addSink: (sink) => {
      sinks.add(sink);
      return () => sinks.delete(sink);
    },
  };
}
