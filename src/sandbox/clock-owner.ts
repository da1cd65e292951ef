import type { State } from './state.ts';

type Plain = Record<string, unknown>;

/** What leads from an object to its customer. */
const REFERENCES = ['customer', 'subscription', 'invoice', 'charge', 'payment_intent', 'source'];
const MAX_STEPS = 4;
/** Free text of the caller's, where an id means nothing. */
const FREE_TEXT = ['metadata', 'description', 'client_reference_id', 'name', 'email'];

function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function find(state: State, id: string): Plain | undefined {
  for (const objects of Object.values(state)) {
    const found: unknown = objects instanceof Map ? objects.get(id) : undefined;
    if (isPlain(found) && typeof found.object === 'string') return found;
  }
  if (id.startsWith('si_'))
    for (const subscription of state.subscriptions.values())
      if (subscription.items.data.some((item) => item.id === id)) return { ...subscription };
  return undefined;
}

function clockOf(state: State, id: string, steps: number): string | null {
  if (state.testClocks.has(id)) return id;
  const object = find(state, id);
  if (object === undefined || steps === 0) return null;
  if (typeof object.test_clock === 'string') return object.test_clock;
  for (const name of REFERENCES) {
    const reference = object[name];
    const clock = typeof reference === 'string' ? clockOf(state, reference, steps - 1) : null;
    if (clock !== null) return clock;
  }
  return null;
}

/** The test clock of the object with this id, its own or its customer's. */
export function testClockOf(state: State, id: string): string | null {
  return state.testClocks.size === 0 ? null : clockOf(state, id, MAX_STEPS);
}

function* idsIn(value: unknown): Generator<string> {
  if (typeof value === 'string') yield value;
  else if (Array.isArray(value)) for (const one of value) yield* idsIn(one);
  else if (isPlain(value))
    for (const [key, one] of Object.entries(value)) if (!FREE_TEXT.includes(key)) yield* idsIn(one);
}

/** The test clock that a request is about: the first that its path or its parameters lead to. */
export function testClockOfRequest(state: State, path: string, params: unknown): string | null {
  if (state.testClocks.size === 0) return null;
  for (const id of [...path.split('/'), ...idsIn(params)]) {
    const clock = testClockOf(state, id);
    if (clock !== null) return clock;
  }
  return null;
}
