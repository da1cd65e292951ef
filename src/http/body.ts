/** Reads the body of a request: JSON, or its bytes where the route wants them as they came. */
import express, { type Request, type RequestHandler, type Response } from 'express';
import { invalidField } from '../errors.ts';
import type { Route } from './route.ts';
import { hasBody, refuseOtherMediaType } from './validation.ts';

const JSON_BYTES_MAX = 100 * 1024;
const LARGE_JSON_BYTES_MAX = 1024 * 1024;
const RAW_BYTES_MAX = 2 * 1024 * 1024;

const parseJson = (limit: number) => promised(express.json({ limit, strict: false, type: () => true }));
const readJson = parseJson(JSON_BYTES_MAX);
const readLargeJson = parseJson(LARGE_JSON_BYTES_MAX);
const readRaw = promised(express.raw({ limit: RAW_BYTES_MAX, type: () => true }));

function promised(handler: RequestHandler) {
  return (request: Request, response: Response): Promise<void> =>
    new Promise((resolve, reject) => {
      handler(request, response, (error?: unknown) => (error ? reject(error) : resolve()));
    });
}

/** Only after authentication, so that strangers make nobody parse what they send. */
export async function readBody(route: Route, request: Request, response: Response): Promise<void> {
  if (route.method !== 'post' || !hasBody(request)) return;
  if (route.rawBody) return readRaw(request, response);
  if (isPlainJson(request)) return readPlainJson(request);
  refuseOtherMediaType(request);
  await (route.largeBody ? readLargeJson : readJson)(request, response);
}

const PLAIN_JSON = /^application\/json(?:; ?charset=utf-8)?$/i;

/** Of a known length within every route's limit, not compressed, in UTF-8: what nearly all clients send. */
function isPlainJson({ headers }: Request): boolean {
  return (
    headers['content-encoding'] === undefined &&
    headers['transfer-encoding'] === undefined &&
    Number(headers['content-length']) <= JSON_BYTES_MAX &&
    PLAIN_JSON.test(headers['content-type'] ?? '')
  );
}

const BYTE_ORDER_MARK = 0xfeff;

/**
 * What express.json() does for such a body, without what it has for all others (charsets, decompression, counting):
 * that was a fifteenth of the CPU of a small request.
 */
function readPlainJson(request: Request): Promise<void> {
  return new Promise((resolve, reject) => {
    let bytes: Buffer | undefined;
    request.on('data', (chunk: Buffer) => {
      bytes = bytes === undefined ? chunk : Buffer.concat([bytes, chunk]);
    });
    // The connection broke: nobody reads the answer, but the log should not say that the fault was ours.
    request.on('error', () => reject(invalidField('body', 'could not be read')));
    request.on('end', () => {
      try {
        const text = bytes?.toString() ?? '';
        request.body = JSON.parse(text.charCodeAt(0) === BYTE_ORDER_MARK ? text.slice(1) : text);
        resolve();
      } catch {
        reject(invalidField('body', 'is not valid JSON'));
      }
    });
  });
}
