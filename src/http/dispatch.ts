/** Turns the route table into Express routes: authenticate, read the body, validate, run, answer. */
import type { Express, Request, RequestHandler, Response } from 'express';
import type { Context } from '../context.ts';
import { TollgateError } from '../errors.ts';
import { runAs } from '../lib/current.ts';
import type { ChangeRequest } from '../lib/requests.ts';
import type { Authenticator } from './auth.ts';
import { readBody } from './body.ts';
import { actorOf, changeRequest } from './idempotency.ts';
import { loggedProblem, type Problem, writeError } from './problem.ts';
import type { Lifecycle, Method, Principal, Route, RouteAnswer, RouteInput } from './route.ts';
import { validated, validatedBody } from './validation.ts';

export interface Service {
  context: Context;
  authenticator: Authenticator;
  lifecycle: Lifecycle;
}

/** One Express route per path, so that a known path can say which methods it has. */
export function mountRoutes(app: Express, service: Service, routes: readonly Route[]): void {
  const byPath = groupByPath(routes);
  for (const [path, group] of byPath) {
    const mounted = app.route(expressPath(path));
    for (const route of group) mounted[route.method](handle(service, route));
    mounted.all(
      otherMethod(
        service.context,
        group.map(({ method }) => method),
      ),
    );
  }
}

function groupByPath(routes: readonly Route[]): Map<string, Route[]> {
  const groups = new Map<string, Route[]>();
  for (const route of routes) groups.set(route.path, [...(groups.get(route.path) ?? []), route]);
  return groups;
}

export function expressPath(path: string): string {
  return path.replace(/\{(\w+)\}/g, ':$1');
}

/** For the methods that a path does not have; and OPTIONS, which asks for those that it has. */
export function otherMethod(context: Context, methods: readonly Method[]): RequestHandler {
  const named = methods.flatMap((method) => (method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()]));
  const allowed = [...named, 'OPTIONS'].join(', ');
  return (request, response) => {
    response.set('Allow', allowed);
    if (request.method === 'OPTIONS') {
      response.status(204).end();
      return;
    }
    const error = new TollgateError(
      'method_not_allowed',
      `${request.method} is not possible here; ${allowed} are.`,
    );
    writeError(context, request, response, error);
  };
}

function handle(service: Service, route: Route): RequestHandler {
  return async (request, response) => {
    try {
      const principal = await service.authenticator.authenticate(route.auth, request, response);
      await readBody(route, request, response);
      const input = new Input(service, route, request, principal);
      const answer = await run(service.context, route, input);
      writeAnswer(response, answer, route);
    } catch (error) {
      writeError(service.context, request, response, error);
    }
  };
}

/** The seed's functions find the user of the request by `runAs`. */
function run(context: Context, route: Route, input: RouteInput): Promise<RouteAnswer> | RouteAnswer {
  const { principal } = input;
  if (principal.kind !== 'user') return route.handler(context, input);
  return runAs(context, principal.id, () => route.handler(context, input));
}

/** A class, so that a request makes no functions of its own. */
class Input implements RouteInput {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
  readonly change: ChangeRequest;
  readonly requestId: string;
  readonly actor: string;
  readonly lifecycle: Lifecycle;
  readonly rawBody: Buffer;
  readonly principal: Principal;
  readonly #context: Context;
  readonly #request: Request;

  constructor({ context, lifecycle }: Service, route: Route, request: Request, principal: Principal) {
    const bytes: unknown = request.body;
    this.params = validated(route.params, 'params', request.params);
    this.query = validated(route.query, 'query', request.query);
    this.body = route.method === 'post' && !route.rawBody ? validatedBody(route.body, request) : {};
    this.principal = principal;
    this.change = route.idempotency === 'none' ? NO_CHANGE : changeRequest(route, request, principal);
    this.requestId = String(request.id);
    this.actor = actorOf(principal);
    this.lifecycle = lifecycle;
    this.rawBody = Buffer.isBuffer(bytes) ? bytes : NO_BYTES;
    this.#context = context;
    this.#request = request;
  }

  problemOf(error: unknown): Problem {
    return loggedProblem(this.#context, this.#request, error);
  }

  header(name: string): string | undefined {
    return this.#request.get(name);
  }
}

const NO_BYTES = Buffer.alloc(0);

/** For routes that change nothing, or whose repetition has no second effect by itself. */
const NO_CHANGE = { key: '', scope: '', hash: NO_BYTES, requestId: null, actor: '' };

function writeAnswer(response: Response, answer: RouteAnswer, { responses }: Route): void {
  response.head.push('Cache-Control', 'no-store');
  if (answer.replayed) response.head.push('Idempotent-Replayed', 'true');
  response.statusCode = answer.status;
  if (answer.text !== undefined) {
    response.type(responses[answer.status]?.contentType ?? 'text/plain').send(answer.text);
    return;
  }
  if (answer.body === undefined) {
    response.end();
    return;
  }
  // What response.json() does, less the negotiation of what this API does not have: charsets, ETags, freshness.
  const text = JSON.stringify(answer.body);
  const length = String(Buffer.byteLength(text));
  response.head.push('Content-Type', 'application/json; charset=utf-8', 'Content-Length', length);
  response.end(text);
}
