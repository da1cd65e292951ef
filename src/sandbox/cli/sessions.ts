import { createHash } from 'node:crypto';
import { z } from 'zod';
import { text } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import { API_VERSION } from '../world.ts';

export const SUBSCRIBE_PATH = '/stripecli/subscribe/';

/** How long the CLI keeps a connection before it makes a new one, in seconds. */
const RECONNECT_DELAY = 60;

const params = z.strictObject({
  device_name: text,
  forward_connect_to_url: text.optional(),
  forward_thin_connect_to_url: text.optional(),
  forward_thin_to_url: text.optional(),
  forward_to_url: text.optional(),
  websocket_features: z
    .array(z.enum(['webhooks'], 'This sandbox offers the feature `webhooks` (snapshot events) only'))
    .min(1),
});

/**
 * Nothing is stored: the id says which device it is and whether it forwards, so a listening CLI finds its
 * session again after a restart, and its secret stays what the developer has put in his configuration.
 */
function websocketId(device: string, forwards: boolean): string {
  const name = createHash('sha256').update(device).digest('hex').slice(0, 24);
  return `cliws_${forwards ? 'forward' : 'print'}_${name}`;
}

export interface CliSession {
  id: string;
  /** Without a URL to forward to, the CLI acknowledges an event and answers nothing else. */
  forwards: boolean;
  secret: string;
}

export function sessionOf(id: string): CliSession | undefined {
  const parts = /^cliws_(forward|print)_([0-9a-f]{24})$/.exec(id);
  if (parts === null) return undefined;
  const secret = createHash('sha256').update(`tollgate sandbox listener ${parts[2]}`).digest('hex');
  return { id, forwards: parts[1] === 'forward', secret: `whsec_${secret}` };
}

/** What `stripe listen` asks first (https://github.com/stripe/stripe-cli, pkg/stripeauth). */
export const cliSessionRoutes: Route[] = [
  route('POST', '/stripecli/sessions', params, ({ world, params: asked }) => {
    const id = websocketId(asked.device_name, asked.forward_to_url !== undefined);
    return {
      default_version: API_VERSION,
      device_token: '',
      display_connect_filter_warning: false,
      latest_version: API_VERSION,
      reconnect_delay: RECONNECT_DELAY,
      secret: sessionOf(id)?.secret,
      websocket_authorized_feature: 'webhooks',
      websocket_id: id,
      websocket_url: `${world.baseUrl().replace(/^http/, 'ws')}${SUBSCRIBE_PATH}${id}`,
    };
  }),
];
