// Counts the whole run for the last line of `npm test`, which scripts/run.mjs prints after vitest has ended: only
// then is nothing printed below it, whatever a reporter or a teardown still says.
import { writeFileSync } from 'node:fs';
import type { Reporter, SerializedError, TestModule, TestSuite } from 'vitest/node';

export interface Summary {
  passed: number;
  failed: number;
  skipped: number;
}

/** Suites whose hooks failed: their tests then count as skipped, and the failure would not show in the sum. */
function brokenSuites(suites: Iterable<TestSuite>): number {
  let broken = 0;
  for (const suite of suites) if (suite.errors().length > 0) broken += 1;
  return broken;
}

function summarise(modules: readonly TestModule[], unhandled: readonly SerializedError[]): Summary {
  const sum: Summary = { passed: 0, failed: unhandled.length, skipped: 0 };
  for (const module of modules) {
    // A file that does not load has errors and no tests.
    if (module.errors().length > 0) sum.failed += 1;
    sum.failed += brokenSuites(module.children.allSuites());
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      if (state === 'passed') sum.passed += 1;
      else if (state === 'failed') sum.failed += 1;
      else sum.skipped += 1;
    }
  }
  return sum;
}

export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const file = process.env.TOLLGATE_TEST_SUMMARY;
    if (file) writeFileSync(file, JSON.stringify(summarise(modules, unhandled)));
  }
}
