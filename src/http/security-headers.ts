/** What tells a browser how little it may do with our answers. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestHandler } from 'express';
import helmet, { type HelmetOptions } from 'helmet';
import type { Config } from '../config.ts';

/** Where hosted pages live that a form of ours may lead to: `form-action` also covers redirects. */
const STRIPE_PAGES = ['https://checkout.stripe.com', 'https://billing.stripe.com'];

const isHttps = ({ publicUrl }: Pick<Config, 'publicUrl'>): boolean => publicUrl.startsWith('https:');

/**
 * For data, which no browser has to show: nothing may be loaded by it or frame it (OWASP REST Security Cheat Sheet,
 * "Security Headers"). The other headers of a page would be half of a small answer.
 */
export function answerHeaders(config: Pick<Config, 'publicUrl'>): RequestHandler {
  const headers = headersOf({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
    },
    frameguard: { action: 'deny' },
    strictTransportSecurity: isHttps(config),
    crossOriginOpenerPolicy: false,
    dnsPrefetchControl: false,
    ieNoOpen: false,
    originAgentCluster: false,
    permittedCrossDomainPolicies: false,
    xssFilter: false,
  }).flat();
  return (_request, response, next) => {
    response.head.push(...headers);
    next();
  };
}

/** For pages: Helmet's own choice, and forms that lead to Stripe. */
export function pageHeaders(config: Pick<Config, 'publicUrl'>): RequestHandler {
  const headers = headersOf({
    contentSecurityPolicy: {
      directives: {
        formAction: ["'self'", ...STRIPE_PAGES],
        // Over plain http it would send the browser to a port where nobody speaks TLS.
        upgradeInsecureRequests: isHttps(config) ? [] : null,
      },
    },
    strictTransportSecurity: isHttps(config),
  });
  return (_request, response, next) => {
    for (const [name, value] of headers) response.setHeader(name, value);
    next();
  };
}

/** Helmet's headers are the same for every answer: asked for once. */
function headersOf(options: HelmetOptions): [name: string, value: string][] {
  const headers: [name: string, value: string][] = [];
  const recorder = {
    setHeader: (name: string, value: string) => headers.push([name, value]),
    removeHeader: () => {},
  };
  helmet(options)({} as IncomingMessage, recorder as unknown as ServerResponse, (error) => {
    if (error) throw error;
  });
  return headers;
}
