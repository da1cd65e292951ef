import { missing } from '../errors.ts';
import type { Invoice } from '../wire.ts';
import type { World } from '../world.ts';

export function findInvoice(world: World, id: string, param?: string): Invoice {
  const invoice = world.state.invoices.get(id);
  if (invoice === undefined) throw missing('invoice', id, param);
  return invoice;
}
