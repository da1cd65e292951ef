// How a bad request is written down: what is sent, and the status and the field that it must be refused by.
import type { Call } from '../support/calls.ts';

/** Name, method and path, what is sent, the status, and the field that the problem must name. */
export type Case = [name: string, request: string, options: Call, status: number, field: string | null];
/** Filled by the files of cases. */
export const cases: Case[] = [];

export const CONSUME = 'POST /v1/credits/consume';
export const HOLDS = 'POST /v1/credits/holds';
export const GRANTS = 'POST /v1/users/victim/grants';
export const LEDGER = 'GET /v1/users/victim/ledger';
export const victim = { userId: 'victim' };
export const nested = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;

export function bad(request: string, field: string, ...bodies: [name: string, body: unknown][]): void {
  for (const [name, body] of bodies)
    cases.push([`${field} ${name}`, request, { body }, 400, `body.${field}`]);
}
export function badRaw(request: string, field: string, name: string, raw: string, status = 400): void {
  cases.push([name, request, { raw }, status, field]);
}
export function badQuery(request: string, field: string, ...queries: string[]): void {
  for (const query of queries) cases.push([query, `${request}?${query}`, {}, 400, `query.${field}`]);
}
