import type { IncomingMessage, ServerResponse } from 'node:http';
import { testClockOfRequest } from '../clock-owner.ts';
import { type ControlContext, control } from '../control.ts';
import { StripeError } from '../errors.ts';
import { pageAnswer } from '../pages/route.ts';
import type { World } from '../world.ts';
import { type ApiContext, handleApi } from './api.ts';
import { decodeForm } from './form.ts';
import { readBody, send, sendJson } from './message.ts';

const CONTROL = '/_sandbox';
/** The pages have no scripts and load nothing; should markup ever slip in, it must not run either. */
const PAGE_HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy':
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
  'Referrer-Policy': 'no-referrer',
};

async function handleControl(
  context: ControlContext,
  message: IncomingMessage,
  response: ServerResponse,
  path: string,
) {
  const text = await readBody(message);
  const answer = await control(context, message.method ?? 'GET', path, text);
  if (answer === undefined) sendJson(response, 404, { error: { message: `No such control route: ${path}` } });
  else sendJson(response, 200, answer);
}

/** A Portal page's path names its session by a secret. */
function ownerOfPage({ state }: World, path: string): string[] {
  if (!path.startsWith('/p/session/')) return [];
  return [...state.portalSessions.values()].flatMap((one) => (one.url.endsWith(path) ? [one.customer] : []));
}

async function handlePage(
  context: ControlContext,
  message: IncomingMessage,
  response: ServerResponse,
  { pathname: path, search }: URL,
) {
  const fields = decodeForm(message.method === 'POST' ? await readBody(message) : search.slice(1));
  context.timeline.catchUp();
  const { world } = context;
  const method = message.method ?? 'GET';
  const clock = testClockOfRequest(world.state, path, ownerOfPage(world, path));
  const answer = world.within(clock, () => pageAnswer(world, method, path, fields));
  if (answer === undefined) return false;
  if (method === 'POST') world.touched();
  if ('redirect' in answer) send(response, 303, 'text/plain', '', { Location: answer.redirect });
  else send(response, answer.status, 'text/html; charset=utf-8', answer.html, PAGE_HEADERS);
  return true;
}

/** Pages and control API answer a refusal as plain JSON that names the field. */
function sendError(context: ApiContext, response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    context.onError(error);
    response.destroy();
    return;
  }
  if (error instanceof StripeError)
    sendJson(response, error.status, { error: { ...error.details, message: error.message } });
  else {
    context.onError(error);
    sendJson(response, 500, { error: { message: 'The sandbox failed; see the host log.' } });
  }
}

export function requestListener(api: ApiContext, controls: ControlContext) {
  const handle = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(message.url ?? '/', 'http://sandbox.invalid');
    const path = url.pathname;
    if (path === CONTROL || path.startsWith(`${CONTROL}/`))
      await handleControl(controls, message, response, path.slice(CONTROL.length));
    else if (path.startsWith('/v1') || !(await handlePage(controls, message, response, url)))
      await handleApi(api, message, response, url);
  };
  return (message: IncomingMessage, response: ServerResponse): void => {
    handle(message, response).catch((error: unknown) => {
      // A client that hung up before its request was complete is neither to be answered nor a fault of ours.
      if (message.complete) sendError(api, response, error);
    });
  };
}
