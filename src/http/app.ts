/** The Express applications: the API, and where it has a port of its own, the operator's. */
import express, { type ErrorRequestHandler, type Express } from 'express';
import type { Context } from '../context.ts';
import { notFound } from '../errors.ts';
import { authenticator } from './auth.ts';
import { mountRoutes } from './dispatch.ts';
import { mountDocs } from './docs.ts';
import { writeHeadsAtOnce } from './head.ts';
import { requestLogger } from './logging.ts';
import { metricsOf } from './metrics.ts';
import { openApiDocument } from './openapi.ts';
import { writeError } from './problem.ts';
import type { Lifecycle, Route } from './route.ts';
import { routes } from './routes/index.ts';
import { answerHeaders } from './security-headers.ts';

/** The API; the probes are on it as well unless they have a port of their own. */
export function createApp(context: Context, lifecycle: Lifecycle = { isStopping: false }): Express {
  const isWhole = context.config.opsPort === undefined;
  const served = isWhole ? routes : routes.filter((route) => !route.isOperational);
  return build(context, lifecycle, served, (app) => {
    const document = once(() => openApiDocument(context.config, routes));
    mountDocs(app, context, document);
  });
}

/** The probes alone, for config.opsPort. */
export function createOpsApp(context: Context, lifecycle: Lifecycle): Express {
  const served = routes.filter((route) => route.isOperational);
  return build(context, lifecycle, served, () => {});
}

function build(
  context: Context,
  lifecycle: Lifecycle,
  served: readonly Route[],
  mountMore: (app: Express) => void,
): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.enable('case sensitive routing');
  app.set('query parser', 'simple');
  writeHeadsAtOnce(app);
  const metrics = metricsOf(context);
  app.use(requestLogger(context.log, metrics.observe.bind(metrics)));
  app.use(answerHeaders(context.config));
  mountRoutes(app, { context, authenticator: authenticator(context), lifecycle }, served);
  mountMore(app);
  app.use(() => {
    throw notFound('path');
  });
  app.use(problems(context));
  return app;
}

/** Whatever Express or its middleware throw, in the same form as everything else. */
function problems(context: Context): ErrorRequestHandler {
  return (error, request, response, _next) => writeError(context, request, response, error);
}

function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
