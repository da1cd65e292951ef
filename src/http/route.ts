/**
 * A route as data. From one table of these come the Express routes, the validation and the OpenAPI document, so none
 * of the three can say something that the others do not.
 */
import type { z } from 'zod';
import type { Context } from '../context.ts';
import type { ChangeRequest } from '../lib/requests.ts';
import type { ApiKeyScope } from '../store/api-keys.ts';
import type { Problem } from './problem.ts';

export type Method = 'get' | 'post' | 'delete';

/** Who may call: one of the scopes (`admin` has them all), an end user for itself, or anyone. */
export type RouteAuth =
  | { kind: 'apiKey'; scopes: readonly ApiKeyScope[] }
  | { kind: 'user' }
  | { kind: 'none' };

/** Whether the route takes an Idempotency-Key. */
export type Idempotency = 'required' | 'optional' | 'none';

/** Who called. */
export type Principal =
  | { kind: 'apiKey'; id: string; scopes: readonly string[] }
  | { kind: 'user'; id: string }
  | { kind: 'none' };

/** State of the process that a route may have to know. */
export interface Lifecycle {
  isStopping: boolean;
}

export interface RouteInput<Params = unknown, Query = unknown, Body = unknown> {
  params: Params;
  query: Query;
  body: Body;
  principal: Principal;
  /** How the change is asked for; a route whose `idempotency` is `none` has no use for it. */
  change: ChangeRequest;
  requestId: string;
  /** `apiKey:<id>`, `user:<id>` or `nobody`, for the audit. */
  actor: string;
  lifecycle: Lifecycle;
  /** The body of the answer that this error would get by itself; logged as that answer would be. */
  problemOf(error: unknown): Problem;
  /** Only where `rawBody` is set: the bytes as they came, and a request header. */
  rawBody: Buffer;
  header(name: string): string | undefined;
}

export interface RouteAnswer {
  status: number;
  /** Absent: an answer without content. */
  body?: unknown;
  /** Instead of JSON: a text of the content type that the route declares. */
  text?: string;
  /** The first answer to this key again. */
  replayed?: boolean;
}

export interface RouteResponse {
  description: string;
  /** Absent: no content. */
  schema?: z.ZodType;
  /** Instead of JSON. */
  contentType?: 'text/csv' | 'text/plain';
}

interface RouteFacts {
  method: Method;
  /** With parameters in braces, as OpenAPI has it: `/v1/users/{userId}`. */
  path: string;
  summary: string;
  description?: string;
  tag: string;
  auth: RouteAuth;
  idempotency: Idempotency;
  /** Served on the operator's own port where there is one. */
  isOperational?: true;
  /** Takes JSON of up to 1 MB rather than 100 kB. */
  largeBody?: true;
  /** The body is not JSON: its bytes are handed on, up to 2 MB. */
  rawBody?: true;
  /** Answers by status. Errors that any route may give are added by the document. */
  responses: Readonly<Record<number, RouteResponse>>;
}

export interface RouteDefinition<
  Params extends z.ZodType = z.ZodType<Record<string, never>>,
  Query extends z.ZodType = z.ZodType<Record<string, never>>,
  Body extends z.ZodType = z.ZodType<Record<string, never>>,
> extends RouteFacts {
  params?: Params;
  query?: Query;
  body?: Body;
  handler(
    context: Context,
    input: RouteInput<z.output<Params>, z.output<Query>, z.output<Body>>,
  ): Promise<RouteAnswer> | RouteAnswer;
}

/** A route of the table, its input types erased: what it gets has passed its own schemas. */
export interface Route extends RouteFacts {
  params?: z.ZodType;
  query?: z.ZodType;
  body?: z.ZodType;
  handler(context: Context, input: RouteInput): Promise<RouteAnswer> | RouteAnswer;
}

/** Types the handler by the schemas beside it. */
export function route<Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodType>(
  definition: RouteDefinition<Params, Query, Body>,
): Route {
  return definition;
}
