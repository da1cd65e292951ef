/**
 * What every answer says besides itself, kept in `response.head` and written with it. One by one, each header is checked,
 * lower-cased and put into a table of its own: for the dozen of an answer that was a fifteenth of the CPU of an echo.
 */
import type { ServerResponse } from 'node:http';
import type express from 'express';

declare global {
  namespace Express {
    interface Response {
      /** Names and values by turns; a header that is set by name comes before one of these. */
      head: string[];
    }
  }
}

type WriteHead = (this: ServerResponse, status: number, ...more: unknown[]) => ServerResponse;

/** Has the answers of an application written with their `head`; those that never got one are written as they are. */
export function writeHeadsAtOnce(app: express.Express): void {
  const response = app.response as unknown as { writeHead: WriteHead };
  const { writeHead } = response;
  response.writeHead = function withHead(status, ...more) {
    const { head } = this as ServerResponse & { head?: string[] };
    if (!head) return writeHead.call(this, status, ...more);
    if (more.length === 0 && this.getHeaderNames().length === 0) return writeHead.call(this, status, head);
    for (let at = 0; at < head.length; at += 2) {
      const [name = '', value = ''] = [head[at], head[at + 1]];
      if (!this.hasHeader(name)) this.setHeader(name, value);
    }
    return writeHead.call(this, status, ...more);
  };
}
