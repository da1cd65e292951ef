// Bad input to one route after the other.
import { bad, badQuery, cases, GRANTS, HOLDS, LEDGER, victim } from './bad-input-table.ts';

// many consumes in one request
const item = { ...victim, key: 'k' };
bad(
  'POST /v1/credits/consume/batch',
  'items',
  ['missing', {}],
  ['empty', { items: [] }],
  ['no list', { items: item }],
  ['of 1001', { items: Array.from({ length: 1_001 }, (_, n) => ({ ...item, key: `${n}` })) }],
  ['without a user', { items: [{ key: 'k' }] }],
);
bad(
  'POST /v1/credits/consume/batch',
  'items.1.key',
  ['missing', { items: [item, victim] }],
  ['empty', { items: [item, { ...victim, key: '' }] }],
  ['of 256 characters', { items: [item, { ...victim, key: 'k'.repeat(256) }] }],
  ['with a line break', { items: [item, { ...victim, key: 'a\nb' }] }],
);
bad('POST /v1/credits/consume/batch', 'items.1.tokens', ['0', { items: [item, { ...item, tokens: 0 }] }]);
bad('POST /v1/credits/consume/batch', 'items.0.amount', ['unknown', { items: [{ ...item, amount: 1 }] }]);

// holds, refunds, grants, plans
bad(
  HOLDS,
  'expiresInSeconds',
  ['0', { ...victim, expiresInSeconds: 0 }],
  ['of more than a day', { ...victim, expiresInSeconds: 86_401 }],
  ['1.5', { ...victim, expiresInSeconds: 1.5 }],
);
bad(
  'POST /v1/credits/holds/h/capture',
  'tokens',
  ['-1', { tokens: -1 }],
  ['beside credits', { tokens: 1, credits: 1 }],
);
bad(
  'POST /v1/credits/refund',
  'entryId',
  ['missing', { reason: 'r' }],
  ['empty', { entryId: '', reason: 'r' }],
);
bad('POST /v1/credits/refund', 'tokens', ['0', { entryId: 'le_1_dmljdGlt', tokens: 0, reason: 'r' }]);
bad(
  'POST /v1/credits/refund',
  'reason',
  ['missing', { entryId: 'e' }],
  ['blank', { entryId: 'e', reason: '  ' }],
  ['of 501 characters', { entryId: 'e', reason: 'r'.repeat(501) }],
  ['with NUL', { entryId: 'e', reason: 'a\0' }],
);
const gift = { credits: 1, source: 'bonus', reason: 'r' };
bad(
  GRANTS,
  'credits',
  ['missing', { source: 'bonus', reason: 'r' }],
  ['beside tokens', { ...gift, tokens: 1 }],
  ['negative', { ...gift, credits: -5 }],
);
bad(
  GRANTS,
  'source',
  ['allowance', { ...gift, source: 'allowance' }],
  ['missing', { credits: 1, reason: 'r' }],
);
bad(GRANTS, 'reason', ['missing', { credits: 1, source: 'bonus' }]);
bad(
  GRANTS,
  'expiresAt',
  ['in the past', { ...gift, expiresAt: '2020-01-01T00:00:00Z' }],
  ['a day that is none', { ...gift, expiresAt: '2027-02-30T00:00:00Z' }],
  ['without a zone', { ...gift, expiresAt: '2027-02-20T00:00:00' }],
  ['a number', { ...gift, expiresAt: 1_900_000_000 }],
);
bad(
  'POST /v1/users/victim/plan',
  'plan',
  ['missing', {}],
  ['unknown', { plan: 'gold' }],
  ['of JavaScript', { plan: '__proto__' }],
);
bad(
  'POST /v1/users/victim/plan',
  'periodDays',
  ['0', { plan: 'pro', periodDays: 0 }],
  ['1e9', { plan: 'pro', periodDays: 1e9 }],
);
bad(
  'POST /v1/users/victim/plan',
  'effective',
  ['someday', { plan: 'pro', effective: 'someday' }],
  ['period_end for pro', { plan: 'pro', effective: 'period_end' }],
);
bad('POST /v1/users', 'email', ['that is none', { userId: 'u1', email: 'nobody' }]);
bad('POST /v1/users', 'plan', ['unknown', { userId: 'u1', plan: 'gold' }]);

// billing
const checkout = { ...victim, plan: 'pro' };
bad(
  'POST /v1/billing/checkout',
  'plan',
  ['and pack missing', victim],
  ['beside a pack', { ...checkout, pack: 'pack_50' }],
  ['free', { ...victim, plan: 'free' }],
  ['of JavaScript', { ...victim, plan: 'toString' }],
);
bad('POST /v1/billing/checkout', 'pack', ['of JavaScript', { ...victim, pack: 'valueOf' }]);
bad('POST /v1/billing/checkout', 'interval', ['week', { ...checkout, interval: 'week' }]);
bad(
  'POST /v1/billing/checkout',
  'successUrl',
  ['javascript:', { ...checkout, successUrl: 'javascript:alert(1)' }],
  ['relative', { ...checkout, successUrl: '/done' }],
);
bad('POST /v1/billing/checkout', 'cancelUrl', ['ftp:', { ...checkout, cancelUrl: 'ftp://a.test/' }]);
bad('POST /v1/billing/portal', 'returnUrl', ['data:', { ...victim, returnUrl: 'data:text/html,x' }]);
bad('POST /v1/billing/cancel', 'effective', ['later', { ...victim, effective: 'later' }]);
bad(
  'POST /v1/billing/preview',
  'plan',
  ['and cancel missing', victim],
  ['unknown', { ...victim, plan: 'gold' }],
  ['without a price', { ...victim, plan: 'enterprise' }],
);
bad(
  'POST /v1/billing/preview',
  'cancel',
  ['beside a plan', { ...victim, plan: 'pro', cancel: true }],
  ['false', { ...victim, cancel: false }],
);
const change = { ...victim, plan: 'pro' };
bad(
  'POST /v1/billing/change',
  'plan',
  ['missing', victim],
  ['unknown', { ...victim, plan: 'gold' }],
  ['without a price', { ...victim, plan: 'enterprise' }],
  ['of JavaScript', { ...victim, plan: 'toString' }],
);
bad('POST /v1/billing/change', 'interval', ['week', { ...change, interval: 'week' }]);
bad('POST /v1/billing/change', 'effective', ['later', { ...change, effective: 'later' }]);
bad(
  'POST /v1/billing/change',
  'quantity',
  ['0', { ...change, quantity: 0 }],
  ['1.5', { ...change, quantity: 1.5 }],
  ['1e9', { ...change, quantity: 1e9 }],
);

// lists
badQuery(
  LEDGER,
  'limit',
  'limit=0',
  'limit=101',
  'limit=-1',
  'limit=1.5',
  'limit=1e1',
  'limit=%205',
  'limit=',
  'limit=5&limit=6',
  'limit=abc',
);
badQuery(LEDGER, 'cursor', 'cursor=', 'cursor=!', 'cursor=abc', 'cursor=W10', 'cursor=a&cursor=b');
const cursorOf = (...parts: unknown[]) =>
  `cursor=${Buffer.from(JSON.stringify(parts)).toString('base64url')}`;
badQuery(
  LEDGER,
  'cursor',
  cursorOf('ledger', 'other', 5),
  cursorOf('grants', 'victim', 'gr_1'),
  cursorOf('ledger', 'victim', 1.5),
  cursorOf('ledger', 'victim', { a: 1 }),
);
badQuery(
  'GET /v1/users/victim/usage',
  'at',
  'at=yesterday',
  'at=',
  'at=2026-03-10',
  'at=2026-02-30T00:00:00Z',
  'at=2026-03-10T12:00:00.001Z', // in the future
  'at=2026-03-10T11:59:59Z', // before the victim signed up
  'at=2026-03-10T12:00:00Z&at=2026-03-10T12:00:00Z',
);
badQuery(
  'GET /v1/admin/metrics',
  'from',
  'from=yesterday',
  'from=2026-03-10T12:00:00Z', // now
  'from=2026-03-11T00:00:00Z&to=2026-03-12T00:00:00Z', // to come
  'from=2026-02-02T00:00:00Z&to=2026-02-01T00:00:00Z',
  'from=2025-03-01T00:00:00Z', // more than 366 days
  'from=2026-03-01T00:00:00Z&from=2026-03-02T00:00:00Z',
);
badQuery('GET /v1/admin/metrics', 'to', 'to=2026-13-01T00:00:00Z', 'to=');
badQuery('GET /v1/admin/metrics', 'plan', 'plan=free');
badQuery('GET /v1/users/victim/usage', 'from', 'from=2026-03-10T12:00:00Z');
badQuery('GET /v1/admin/stripe-events', 'status', 'status=done', 'status=constructor');
badQuery(
  'GET /v1/admin/stripe-events',
  'cursor',
  cursorOf('ledger', 'victim', 5),
  cursorOf('stripe-events', '2026-01-01T00:00:00Z', 'a\0'),
);
for (const month of ['2026-13', '2026-1', '26-01', 'now', '2026-01.json', '2099-01'])
  cases.push([month, `GET /v1/finance/close/${month}`, {}, 400, 'params.month']);
bad('POST /v1/finance/reconciliations', 'since', ['yesterday', { since: 'yesterday' }]);
bad('POST /v1/finance/reconciliations', 'userId', ['empty', { userId: '' }], ['a number', { userId: 5 }]);
badQuery(
  'GET /v1/finance/reconciliations',
  'cursor',
  cursorOf('ledger', '', 5),
  cursorOf('reconciliations', '', 'a\0'),
);
badQuery(
  'GET /v1/admin/api-keys',
  'cursor',
  cursorOf('ledger', '', 5),
  cursorOf('api-keys', '', 'a\0'),
  cursorOf('api-keys', '', '\ud800'),
);

// administration, the seed's routes, the webhook
bad(
  'POST /v1/admin/api-keys',
  'name',
  ['missing', { scopes: ['read'] }],
  ['with NUL', { name: 'a\0', scopes: ['read'] }],
);
bad(
  'POST /v1/admin/api-keys',
  'scopes',
  ['empty', { name: 'n', scopes: [] }],
  ['text', { name: 'n', scopes: 'read' }],
);
bad('POST /v1/admin/api-keys', 'scopes.0', ['unknown', { name: 'n', scopes: ['root'] }]);
bad('POST /v1/admin/stripe-events/backfill', 'since', ['yesterday', { since: 'yesterday' }]);
bad(
  'POST /api/projects/start-workflow',
  'projectId',
  ['missing', {}],
  ['empty', { projectId: '' }],
  ['of 256 characters', { projectId: 'p'.repeat(256) }],
  ['with NUL', { projectId: 'a\0' }],
);
bad('POST /api/review/generate', 'code', ['and projectId missing', {}], ['a number', { code: 1 }]);
for (const [name, signature] of [
  ['missing', undefined],
  ['empty', ''],
  ['nonsense', 'nonsense'],
  ['of another secret', `t=${Math.floor(Date.now() / 1000)},v1=${'0'.repeat(64)}`],
] as const) {
  const headers = signature === undefined ? {} : { 'stripe-signature': signature };
  cases.push([
    `signature ${name}`,
    'POST /webhooks/stripe',
    { raw: '{}', headers },
    400,
    'header.stripe-signature',
  ]);
}
cases.push(['no body to the webhook', 'POST /webhooks/stripe', {}, 400, 'header.stripe-signature']);
cases.push(['broken percent-encoding', 'GET /v1/users/%E0%A4%A', {}, 400, 'path']);
