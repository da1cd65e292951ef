/**
 * Tollgate as a library. An entry point builds one Context (`openContext`) and hands it to `createTollgate`; from then
 * on the seed's functions work in this process, and inside a request they know its user.
 */
import type { Context } from './context.ts';
import * as validator from './lib/credit-validator.ts';
import { setProcessContext } from './lib/current.ts';
import * as usage from './lib/usage.ts';
import * as initialization from './lib/user-initialization.ts';

export { type Config, ConfigError, configOf, readCatalogue, readEnvironment } from './config.ts';
export { type Clock, type Context, openContext } from './context.ts';
export { ERROR_CODES, type ErrorCode, TollgateError } from './errors.ts';
export * from './lib/credit-validator.ts';
export { runAs } from './lib/current.ts';
export * from './lib/usage.ts';
export * from './lib/user-initialization.ts';

/** The functions of the seed for the given context, which becomes the one of this process. */
export function createTollgate(context: Context) {
  setProcessContext(context);
  return { ...usage, ...initialization, ...validator };
}
