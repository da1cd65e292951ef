// A user's random history, for property tests: commands, and what they do in the model and in a real database.
import fc from 'fast-check';
import { expect } from 'vitest';
import type { Context } from '../../src/context.ts';
import { TollgateError } from '../../src/errors.ts';
import { grantCredits, voidGrant } from '../../src/lib/grants.ts';
import { changePlan, extendPlan } from '../../src/lib/plans.ts';
import { type Answer, type ChangeRequest, requestHash } from '../../src/lib/requests.ts';
import { readUsage } from '../../src/lib/users.ts';
import { listGrants } from '../../src/store/grants.ts';
import { findViolationsOf } from '../../src/store/invariants.ts';
import { type Doors, together } from '../support/doors.ts';
import type { Library } from '../support/library.ts';
import { type Lot, Model, type Plan } from './model.ts';

const BORN = Date.UTC(2027, 11, 31, 23, 59, 30);
const DAY = 86_400_000;

const pick = fc.nat({ max: 1_000 });
const tokens = fc.oneof(fc.integer({ min: 1, max: 12_000 }), fc.constantFrom(2_000, 10_000, 200_000));
export const commands = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('consume' as const), tokens }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('repeat' as const), pick }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('refund' as const), pick, share: fc.integer({ min: 1, max: 3 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('hold' as const),
      tokens,
      seconds: fc.integer({ min: 1, max: 86_400 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('capture' as const), pick, tokens: fc.nat({ max: 15_000 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('release' as const), pick }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('grant' as const),
      tokens,
      source: fc.constantFrom('bonus' as const, 'adjustment' as const),
      days: fc.option(fc.integer({ min: 1, max: 45 })),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('void' as const), pick }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('advance' as const),
      ms: fc.oneof(fc.integer({ min: 1, max: 3_600_000 }), fc.integer({ min: DAY / 2, max: 40 * DAY })),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('plan' as const),
      plan: fc.constantFrom<Plan>('free', 'pro', 'enterprise'),
      days: fc.option(fc.integer({ min: 1, max: 60 })),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('renew' as const), days: fc.integer({ min: 1, max: 40 }) }),
  },
);
export type Command = typeof commands extends fc.Arbitrary<infer T> ? T : never;

let users = 0;

/** One user's history, lived twice: in the model and in the database. */
export class History {
  readonly userId = `user-${users++}`;
  readonly model = new Model(BORN);
  readonly context: Context;
  private step = 0;
  private readonly entryIds: string[] = [];
  private readonly holdIds: string[] = [];
  private readonly consumes: { tokens: number; request: ChangeRequest; answer: Answer }[] = [];

  private readonly doors: Doors;

  constructor(library: Library, doors: Doors = together) {
    this.doors = doors;
    this.context = library.with({ now: () => new Date(this.model.now) });
  }

  private request(): ChangeRequest {
    const key = `step-${this.step++}`;
    return { key, scope: 'test', hash: requestHash(key), requestId: null, actor: 'test' };
  }

  /** Runs a command for real; a refusal for lack of credits or by state is `null`. */
  private async real(work: Promise<Answer>, refusals: string[]): Promise<Record<string, unknown> | null> {
    try {
      return (await work).body;
    } catch (error) {
      if (error instanceof TollgateError && refusals.includes(error.code)) return null;
      throw error;
    }
  }

  async run(command: Command): Promise<void> {
    const { context, userId, model, doors } = this;
    switch (command.do) {
      case 'advance':
        return model.advance(model.now + command.ms);
      case 'consume': {
        const request = this.request();
        const input = { userId, tokens: command.tokens };
        const body = await this.real(doors.consume(context, input, request), ['insufficient_credits']);
        const spend = model.consume(command.tokens);
        expect(body === null).toBe(spend === null);
        if (!body || !spend) return;
        this.entryIds.push(String(body.entryId));
        this.consumes.push({
          tokens: command.tokens,
          request,
          answer: { status: 200, body, replayed: false },
        });
        const from = body.from as { tokens: number }[];
        expect(from.map((part) => part.tokens)).toEqual(spend.pieces.map((piece) => piece.tokens));
        return;
      }
      case 'repeat': {
        const earlier = this.consumes[command.pick % this.consumes.length];
        if (!earlier) return;
        const again = await doors.consume(context, { userId, tokens: earlier.tokens }, earlier.request);
        expect(again).toEqual({ ...earlier.answer, replayed: true });
        return;
      }
      case 'refund': {
        const index = command.pick % this.entryIds.length;
        const entryId = this.entryIds[index];
        const spend = model.spends[index];
        if (!entryId || !spend) return;
        const share = Math.floor(model.refundable(spend) / command.share);
        const input = { entryId, reason: 'test', ...(share > 0 ? { tokens: share } : {}) };
        const body = await this.real(doors.refund(context, input, this.request()), ['conflict']);
        expect(body === null).toBe(model.refundable(spend) === 0);
        if (body) model.refund(spend, share > 0 ? share : model.refundable(spend));
        return;
      }
      case 'hold': {
        const input = { userId, tokens: command.tokens, expiresInSeconds: command.seconds };
        const body = await this.real(doors.placeHold(context, input, this.request()), [
          'insufficient_credits',
        ]);
        const reserve = model.hold(command.tokens, command.seconds);
        expect(body === null).toBe(reserve === null);
        if (body) this.holdIds.push(String(body.holdId));
        return;
      }
      case 'capture': {
        const index = command.pick % this.holdIds.length;
        const holdId = this.holdIds[index];
        const reserve = model.reserves[index];
        if (!holdId || !reserve) return;
        const isOver = reserve.state === 'settled' || reserve.state === 'late';
        const body = await this.real(
          doors.captureHold(context, { holdId, tokens: command.tokens }, this.request()),
          ['insufficient_credits', 'conflict'],
        );
        const isTaken = !isOver && model.capture(reserve, command.tokens);
        expect(body !== null).toBe(isTaken);
        if (body?.entryId) this.entryIds.push(String(body.entryId));
        return;
      }
      case 'release': {
        const index = command.pick % this.holdIds.length;
        const holdId = this.holdIds[index];
        const reserve = model.reserves[index];
        if (!holdId || !reserve) return;
        await this.real(doors.releaseHold(context, holdId, this.request()), ['conflict']);
        model.release(reserve);
        return;
      }
      case 'grant': {
        const until = command.days === null ? null : model.now + command.days * DAY;
        const { tokens: amount, source } = command;
        const expiresAt = until === null ? undefined : new Date(until);
        await grantCredits(
          context,
          { userId, tokens: amount, source, expiresAt, reason: 'test' },
          this.request(),
        );
        return model.grant(source, amount, until);
      }
      case 'void': {
        const lot = model.lots[command.pick % model.lots.length]!;
        const grantId = (await this.grantIds())[model.lots.indexOf(lot)]!;
        const body = await this.real(
          voidGrant(context, { userId, grantId, reason: 'test' }, this.request()),
          ['conflict'],
        );
        expect(body === null).toBe(lot.voided);
        if (body) model.void(lot);
        return;
      }
      case 'plan': {
        const input = { userId, plan: command.plan, periodDays: command.days ?? undefined };
        const body = await this.real(changePlan(context, input, this.request()), ['conflict']);
        expect(body !== null).toBe(model.changePlan(command.plan, command.days));
        return;
      }
      case 'renew': {
        const input = { userId, periodDays: command.days };
        const body = await this.real(extendPlan(context, input, this.request()), ['conflict']);
        expect(body !== null).toBe(model.renew(command.days));
      }
    }
  }

  /** In the order of their making, as the model's lots. */
  private async grantIds(): Promise<string[]> {
    const grants = await listGrants(this.context.pool, this.userId, { before: null, limit: 1_000 });
    return grants.map((grant) => grant.id).reverse();
  }

  async check(): Promise<void> {
    const { context, userId, model } = this;
    const usage = await readUsage(context, userId);
    const inBurnOrder = (lots: Lot[]): number[] => lots.map((lot) => lot.left).sort((a, b) => a - b);
    expect({
      available: usage.availableTokens,
      held: usage.heldTokens,
      used: usage.totalTokensUsed,
      usedThisMonth: usage.monthlyTokensUsed,
      plan: usage.subscriptionTier,
      windowStart: usage.monthlyResetDate,
      balances: usage.balances.map((balance) => balance.remainingTokens).sort((a, b) => a - b),
    }).toEqual({
      available: model.available,
      held: model.held,
      used: model.used,
      usedThisMonth: model.usedThisMonth,
      plan: model.plan,
      windowStart: new Date(model.windowStart).toISOString(),
      balances: inBurnOrder(model.lots.filter((lot) => lot.left > 0)),
    });
    expect(await findViolationsOf(context.pool, userId)).toEqual([]);
  }
}
