// How the process behaves as a server: probes, limits on slow clients, stopping.
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

/** Writes bytes to a port and reads until the other side closes. */
async function talk(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let received = '';
  socket.on('data', (chunk) => {
    received += chunk;
  });
  socket.write(bytes);
  await once(socket, 'close');
  return received;
}

describe('probes', () => {
  it('GET /healthz needs no credential and no database', async () => {
    const { status, body } = await service.call('GET', '/healthz');
    expect([status, body]).toEqual([200, { status: 'ok' }]);
  });

  it('GET /readyz says that all three answer', async () => {
    const { status, body } = await service.call('GET', '/readyz');
    expect(status).toBe(200);
    expect(body.checks).toEqual({ database: 'ok', migrations: 'ok', queue: 'ok' });
  });

  it('GET /readyz names a queue that does not answer', async () => {
    service.jobs.failure = new Error('redis://secret@host is down');
    try {
      const { status, body, text, headers } = await service.call('GET', '/readyz');
      expect(status).toBe(503);
      expect(headers.get('retry-after')).toBe('1');
      expect(body).toMatchObject({
        code: 'unavailable',
        checks: { database: 'ok', queue: 'does not answer' },
      });
      expect(text).not.toContain('secret');
    } finally {
      service.jobs.failure = undefined;
    }
  });

  it('GET /metrics counts requests by route and tells what waits, without a word of any user', async () => {
    await service.call('GET', '/v1/users/somebody-unknown', { as: service.keys.read });
    await service.call('GET', '/made-up/by-somebody');
    const { status, text, headers } = await service.call('GET', '/metrics');
    expect([status, headers.get('content-type')]).toEqual([200, 'text/plain; charset=utf-8']);
    expect(text).toContain(
      'http_request_duration_seconds_count{method="GET",route="/v1/users/:userId",status_code="404"} 1',
    );
    expect(text).toContain(
      'http_request_duration_seconds_count{method="any",route="unknown",status_code="404"} 1',
    );
    expect(text).toContain('tollgate_consumes_waiting 0');
    expect(text).toContain('tollgate_changes_waiting 0');
    expect(text).toContain('tollgate_stripe_events_unfinished{status="failed"} 0');
    expect(text).toContain('process_resident_memory_bytes');
    expect(text).not.toMatch(/somebody/);
  });

  it('has them on a port of their own where one is set, and nowhere else', async () => {
    const apart = await startService({ environment: { OPS_PORT: '0' } });
    try {
      const ops = `http://127.0.0.1:${apart.listening.opsPort}`;
      expect((await fetch(`${ops}/healthz`)).status).toBe(200);
      expect((await fetch(`${ops}/readyz`)).status).toBe(200);
      expect((await fetch(`${ops}/metrics`)).status).toBe(200);
      expect((await fetch(`${ops}/v1/plans`)).status).toBe(404);
      expect((await apart.call('GET', '/healthz', { isChecked: false })).status).toBe(404);
      expect((await apart.call('GET', '/metrics', { isChecked: false })).status).toBe(404);
    } finally {
      await apart.close();
    }
  });
});

describe('a database that is away', () => {
  it('is 503 with Retry-After on every kind of route, and named by /readyz', async () => {
    const away = await startService({ maxConnections: 2 });
    const userId = await away.user();
    const as = await away.token(userId);
    const key = away.keys.backend;
    expect((await away.call('GET', '/api/user/usage', { as })).status).toBe(200);
    const { pool } = away.context;
    try {
      pool.options.connectionString = 'postgresql://postgres@127.0.0.1:1/none';
      // Ends the sessions that are open, so that the next statement needs a new one.
      await service.context.pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()`,
        [new URL(away.databaseUrl).pathname.slice(1)],
      );
      await delay(50);
      const answers = [
        await away.call('GET', '/api/user/usage', { as }),
        await away.call('POST', '/v1/credits/consume', { as: key, body: { userId } }),
        await away.call('GET', `/v1/users/${userId}`, { as: away.keys.read }),
        await away.call('GET', '/v1/admin/api-keys', { as: away.keys.admin }),
      ];
      // Wanted most just now: all but what is in the database.
      const metrics = await away.call('GET', '/metrics');
      expect([metrics.status, metrics.text.includes('status_code="503"')]).toEqual([200, true]);
      for (const { status, body, headers } of answers) {
        expect(status).toBe(503);
        expect(body.code).toBe('unavailable');
        expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
      }
      const { status, body } = await away.call('GET', '/readyz');
      expect(status).toBe(503);
      expect(body.detail).toContain('database does not answer');
    } finally {
      await away.close();
    }
  });

  it('is 503 where every connection is taken', async () => {
    const busy = await startService({ maxConnections: 1 });
    const userId = await busy.user();
    await busy.call('GET', `/v1/users/${userId}`, { as: busy.keys.read });
    const taken = await busy.context.pool.connect();
    try {
      const { status, body } = await busy.call('GET', `/v1/users/${userId}/usage`, { as: busy.keys.read });
      expect([status, body.code]).toEqual([503, 'unavailable']);
    } finally {
      taken.release();
      await busy.close();
    }
  });
});

describe('bytes that are no request', () => {
  it.each([
    ['no HTTP at all', 'hello\r\n\r\n', 400, 'invalid_request'],
    [
      'headers of 20 kB',
      `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
      413,
      'payload_too_large',
    ],
  ])('%s: a problem, and the connection ends', async (_name, bytes, status, code) => {
    const received = await talk(service.listening.port, bytes);
    expect(received).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(received).toMatch(/content-type: application\/problem\+json/i);
    expect(received).toMatch(/x-request-id: \S+/i);
    expect(received).toContain(`"code":"${code}"`);
  });

  it('cuts off a client that does not finish its headers', async () => {
    const received = await talk(service.listening.port, 'GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ');
    expect(received).toContain('application/problem+json');
  });
});

describe('stopping', () => {
  it('finishes what is under way, then refuses new connections, within its time', async () => {
    const stopping = await startService();
    const userId = await stopping.user();
    const tx = await stopping.context.pool.connect();
    await tx.query('begin');
    await tx.query('select 1 from users where id = $1 for update', [userId]);
    const consume = stopping.call('POST', '/v1/credits/consume', {
      as: stopping.keys.consume,
      body: { userId },
    });
    await delay(200);
    const stopped = stopping.listening.stop();
    await delay(100);
    await expect(fetch(`${stopping.url}/healthz`)).rejects.toThrow();
    await tx.query('commit');
    tx.release();
    const { status, body } = await consume;
    expect([status, body.creditsRemaining]).toEqual([200, 4]);
    await stopped;
    await stopping.close();
  });

  it('does not wait for a connection that is only open', async () => {
    const stopping = await startService();
    const socket = connect(stopping.listening.port, '127.0.0.1');
    await once(socket, 'connect');
    const kept = await fetch(`${stopping.url}/healthz`);
    await kept.text();
    await stopping.close();
    socket.destroy();
    // One that waited would be ended by force after 10 s.
  }, 9_000);
});
