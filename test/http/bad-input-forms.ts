// Bad input that many routes share: ids, amounts, metadata, unknown fields, bodies, keys.
import { bad, badQuery, badRaw, CONSUME, cases, GRANTS, HOLDS, nested, victim } from './bad-input-table.ts';

// userId, on every route that has one
const BAD_IDS: [string, unknown][] = [
  ['missing', undefined],
  ['null', null],
  ['a number', 42],
  ['empty', ''],
  ['of 256 characters', 'x'.repeat(256)],
  ['with a space', 'a b'],
  ['beyond ASCII', 'usér'],
  ['with NUL', 'a\0b'],
  ['an object', { $ne: null }],
];
for (const request of [
  CONSUME,
  HOLDS,
  'POST /v1/credits/check',
  'POST /v1/users',
  'POST /v1/billing/portal',
]) {
  bad(request, 'userId', ...BAD_IDS.map(([name, userId]): [string, unknown] => [name, { userId }]));
}
for (const id of ['x'.repeat(256), 'a%20b', '%00', 'a%00b', 'us%C3%A9r']) {
  cases.push([`userId ${id.slice(0, 10)}`, `GET /v1/users/${id}/usage`, {}, 400, 'params.userId']);
}

// amounts
const BAD_AMOUNTS = [0, -1, 1.5, '1', true, null, [1], {}, 1e300, Number.MAX_SAFE_INTEGER + 1];
for (const request of [CONSUME, HOLDS, 'POST /v1/credits/check']) {
  for (const field of ['tokens', 'credits']) {
    bad(
      request,
      field,
      ...BAD_AMOUNTS.map((value): [string, unknown] => [String(value), { ...victim, [field]: value }]),
    );
  }
}
bad(
  CONSUME,
  'tokens',
  ['above 1e12', { ...victim, tokens: 1e12 + 1 }],
  ['beside credits', { ...victim, tokens: 1, credits: 1 }],
);
bad(
  CONSUME,
  'credits',
  ['above 5e8', { ...victim, credits: 5e8 + 1 }],
  ['beside a feature', { ...victim, credits: 1, feature: 'code_review' }],
);
bad(
  CONSUME,
  'feature',
  ['unknown', { ...victim, feature: 'nonsense' }],
  ['of JavaScript', { ...victim, feature: 'constructor' }],
  ['with NUL', { ...victim, feature: '\0' }],
  ['a number', { ...victim, feature: 1 }],
);
badRaw(CONSUME, 'body.tokens', 'tokens beyond the largest number', '{"userId":"victim","tokens":1e400}');

// metadata
const metadata = (value: unknown) => ({ ...victim, metadata: value });
bad(
  CONSUME,
  'metadata',
  ['text', metadata('x')],
  ['an array', metadata([1])],
  ['null', metadata(null)],
  ['of 51 fields', metadata(Object.fromEntries(Array.from({ length: 51 }, (_, n) => [`k${n}`, n])))],
  ['six levels deep', metadata(JSON.parse(nested(6)))],
  ['of 9 kB', metadata({ text: 'x'.repeat(9000) })],
  ['with NUL in a value', metadata({ a: { b: 'x\0' } })],
  ['with NUL in a name', metadata({ 'x\0': 1 })],
  ['with half a surrogate pair', metadata({ a: '\ud800' })],
);
badRaw(
  CONSUME,
  'body.metadata',
  'a prototype in metadata',
  '{"userId":"victim","metadata":{"__proto__":{"a":1}}}',
);
badRaw(CONSUME, 'body.__proto__', 'a prototype in the body', '{"userId":"victim","__proto__":{"credits":1}}');
badRaw(CONSUME, 'body.constructor', 'a constructor in the body', '{"userId":"victim","constructor":1}');
badRaw(CONSUME, 'body.metadata', '40 levels', `{"userId":"victim","metadata":${nested(40)}}`);
badRaw(CONSUME, 'body.a', '10,000 levels', nested(10_000));

// unknown fields
for (const [request, body] of [
  [CONSUME, { ...victim, isSubscribed: true }],
  ['POST /v1/users', { userId: 'u1', isSubscribed: true }],
  [GRANTS, { credits: 1, source: 'bonus', reason: 'r', isSubscribed: true }],
  ['POST /v1/credits/holds/h/release', { isSubscribed: true }],
  ['POST /api/projects/start-workflow', { projectId: 'p', isSubscribed: true }],
  ['POST /v1/admin/api-keys', { name: 'n', scopes: ['read'], isSubscribed: true }],
] as const) {
  bad(request, 'isSubscribed', [`unknown to ${request}`, body]);
}
badQuery('GET /v1/users/victim/usage', 'at', 'at=2026-01-01T00:00:00Z');
badQuery('GET /v1/users/victim', 'x', 'x=1');
badQuery('GET /v1/plans', 'x', 'x');
badQuery('GET /api/user/usage', 'userId', 'userId=other');
badQuery('POST /v1/credits/consume', 'userId', 'userId=victim');

// bodies that are none
for (const request of [
  CONSUME,
  GRANTS,
  'POST /v1/users',
  'POST /api/review/generate',
  'POST /v1/billing/checkout',
]) {
  cases.push(['no body', request, {}, 400, 'body']);
  badRaw(request, 'body', 'cut off', '{"userId":');
}
for (const raw of ['', 'hello', "{'a':1}", '{"a":1,}', '[]', '"text"', '1', 'null', 'true', '\ufeff{']) {
  badRaw(CONSUME, 'body', `body ${JSON.stringify(raw)}`, raw);
}
cases.push(['text/plain', CONSUME, { raw: '{}', headers: { 'content-type': 'text/plain' } }, 415, null]);
cases.push([
  'a form',
  CONSUME,
  { raw: 'userId=victim', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
  415,
  null,
]);
cases.push([
  'an unknown encoding',
  CONSUME,
  { raw: '{}', headers: { 'content-encoding': 'zstd' } },
  415,
  null,
]);
cases.push([
  'a wrong charset',
  CONSUME,
  { raw: '{}', headers: { 'content-type': 'application/json; charset=latin1' } },
  415,
  null,
]);
cases.push(['101 kB', CONSUME, { body: { ...victim, metadata: { a: 'x'.repeat(103_000) } } }, 413, null]);
cases.push(['2.1 MB to the webhook', 'POST /webhooks/stripe', { raw: 'x'.repeat(2_200_000) }, 413, null]);

// Idempotency-Key
for (const [name, key] of [
  ['missing', null],
  ['of 256 characters', 'k'.repeat(256)],
  ['beyond ASCII', 'k\u00e9y'],
  ['with a tab', 'a\tb'],
  ['that only opens a quote', '"abc'],
  ['with a wrong escape', '"a\\b"'],
  ['quoted and empty', '""'],
] as const) {
  cases.push([`key ${name}`, CONSUME, { key, body: victim }, 400, 'header.idempotency-key']);
}
for (const request of [
  HOLDS,
  GRANTS,
  'POST /v1/credits/refund',
  'POST /v1/credits/holds/h/capture',
  'POST /v1/credits/holds/h/release',
  'POST /v1/users/victim/grants/g/void',
]) {
  const body = {
    [HOLDS]: victim,
    [GRANTS]: { credits: 1, source: 'bonus', reason: 'r' },
    'POST /v1/credits/refund': { entryId: 'le_1_dmljdGlt', reason: 'r' },
    'POST /v1/users/victim/grants/g/void': { reason: 'r' },
  }[request];
  cases.push(['key missing', request, { key: null, body: body ?? {} }, 400, 'header.idempotency-key']);
}
