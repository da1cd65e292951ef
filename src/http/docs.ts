/** The reference page: Swagger UI from its package, so that it works without a network and under our CSP. */
import { createRequire } from 'node:module';
import express, { type Express, type Request, type RequestHandler, type Response } from 'express';
import type { Context } from '../context.ts';
import { ERROR_CODES, type ErrorCode, notFound } from '../errors.ts';
import { otherMethod } from './dispatch.ts';
import type { OpenApiDocument } from './openapi.ts';
import { pageHeaders } from './security-headers.ts';

const { getAbsoluteFSPath } = createRequire(import.meta.url)('swagger-ui-dist') as {
  getAbsoluteFSPath(): string;
};

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tollgate API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="reference"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/init.js"></script>
</body>
</html>
`;

/** A file of its own: the CSP lets no script run inside a page. */
const INIT = `SwaggerUIBundle({ url: '/openapi.json', dom_id: '#reference', deepLinking: true });
`;

/** Of the package only what the page asks for. */
const ASSETS = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png'];

export function mountDocs(app: Express, context: Context, document: () => OpenApiDocument): void {
  const headers = pageHeaders(context.config);
  const page = (path: string, handler: RequestHandler) =>
    app
      .route(path)
      .get(headers, handler)
      .all(otherMethod(context, ['get']));
  page('/openapi.json', (_request, response) => {
    response.json(document());
  });
  page('/docs', (_request, response) => {
    response.type('html').send(PAGE);
  });
  page('/docs/init.js', (_request, response) => {
    response.type('text/javascript').send(INIT);
  });
  page('/docs/errors/:code', explainError);
  const files = express.static(getAbsoluteFSPath(), { index: false, maxAge: '1h' });
  for (const name of ASSETS) {
    page(`/docs/${name}`, (request, response, next) => {
      request.url = `/${name}`;
      files(request, response, next);
    });
  }
}

/** What the `type` of a problem points to. */
function explainError(request: Request, response: Response): void {
  const { code } = request.params;
  if (typeof code !== 'string' || !Object.hasOwn(ERROR_CODES, code)) throw notFound('error code');
  const { status, title } = ERROR_CODES[code as ErrorCode];
  response.type('text/plain').send(`${code}\n\nHTTP ${status}. ${title}.\n`);
}
