/**
 * Requests and responses that are Express's own from the start. Express changes the prototype of both on every request
 * (lib/application.js, `app.handle`), and engines give up most of what they know about an object whose prototype
 * changes: it halves the speed of a small answer (expressjs/express issue 5998). Where the prototype is already the
 * right one the change changes nothing.
 */

import { IncomingMessage, type ServerOptions, ServerResponse } from 'node:http';
import type { Express } from 'express';

export function prototypesOf(app: Express): Pick<ServerOptions, 'IncomingMessage' | 'ServerResponse'> {
  // A function with a prototype is a constructor; TypeScript knows only classes for that.
  return {
    IncomingMessage: madeFrom(IncomingMessage, app.request) as unknown as typeof IncomingMessage,
    ServerResponse: madeFrom(ServerResponse, app.response) as unknown as typeof ServerResponse,
  };
}

/**
 * A constructor of objects with exactly this prototype; a class would put one of its own between. It inherits from `base`
 * as a class would: that is where V8 learns how many properties to leave room for in an object. Without, all forty lay
 * outside of it and it was kept as a dictionary: 1.14 times the consumes a second (medians of 8, fresh servers by turns).
 */
function madeFrom(base: NewableFunction, prototype: object): object {
  function Made(this: object, first: unknown, second: unknown): void {
    Reflect.apply(base as unknown as () => void, this, [first, second]);
  }
  Object.setPrototypeOf(Made, base);
  Made.prototype = prototype;
  return Made;
}
