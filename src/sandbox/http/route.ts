import type { z } from 'zod';
import { invalid } from '../errors.ts';
import type { World } from '../world.ts';
import { validationError } from './validation.ts';

export interface Call<P> {
  world: World;
  params: P;
  /** The first id in the path, and the second. */
  id: string;
  subId: string;
  /** The path as it was called, for the `url` of lists. */
  path: string;
  /** The Stripe-Version header; the official CLI sends none and is treated leniently. */
  version: string | null;
}

/** Parameters that endive removed; a caller who names no version, as the official CLI, may still send them. */
export function refuseRemoved<P extends object>(
  params: P,
  version: string | null,
  name: keyof P & string,
): void {
  if (params[name] !== undefined && version?.endsWith('.endive') === true)
    throw invalid(`Received unknown parameter: ${name}`, { code: 'parameter_unknown', param: name });
}

export interface Route {
  method: string;
  pattern: RegExp;
  /** Checks the parameters; what it returns does the work. */
  prepare: (raw: unknown) => (call: Omit<Call<unknown>, 'params'>) => object;
}

/** Handlers are synchronous, so one request is one transaction: nothing else runs in between. */
export function route<S extends z.ZodType>(
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  schema: S,
  handle: (call: Call<z.output<S>>) => object,
): Route {
  return {
    method,
    pattern: new RegExp(`^/v1${path.replaceAll(/:\w+/g, '([^/]+)')}$`),
    prepare: (raw) => {
      const parsed = schema.safeParse(raw);
      if (!parsed.success) throw validationError(parsed.error, raw);
      return (call) => handle({ ...call, params: parsed.data });
    },
  };
}
