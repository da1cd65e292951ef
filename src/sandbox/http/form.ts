import qs from 'qs';

/** `a[b][0][c]=1`, `a[]=1` and `expand[0]=x`, as stripe-node and the official CLI send them. */
export function decodeForm(text: string): Record<string, unknown> {
  return qs.parse(text, { depth: 10, arrayLimit: 200, parameterLimit: 5000, plainObjects: false });
}
