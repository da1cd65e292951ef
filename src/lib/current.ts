/**
 * Who is asking, for the seed's functions, which take no context: inside a request the http layer has set it; outside,
 * `createTollgate(context)` has said which context this process uses.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Context } from '../context.ts';
import { TollgateError } from '../errors.ts';

interface Current {
  context: Context;
  userId: string | null;
}

const storage = new AsyncLocalStorage<Current>();
let processContext: Context | undefined;

/** Runs `work` for a user (or for nobody in particular) of a context. */
export function runAs<T>(context: Context, userId: string | null, work: () => T): T {
  return storage.run({ context, userId }, work);
}

/** The context of calls that come from outside any request. */
export function setProcessContext(context: Context): void {
  processContext = context;
}

export function currentContext(): Context {
  const context = storage.getStore()?.context ?? processContext;
  if (!context)
    throw new Error('Tollgate is not set up in this process: call createTollgate(context) first.');
  return context;
}

/** The named user, else the user of the current request. */
export function currentUser(userId: string | undefined): string {
  const id = userId ?? storage.getStore()?.userId;
  if (id) return id;
  throw new TollgateError('unauthenticated', 'No user: pass a userId, or call this inside a request of one.');
}
