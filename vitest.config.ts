import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/support/longest-first.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    // One process per file: what a test leaves in a module or on the process cannot reach the next.
    pool: 'forks',
    // The database and its sessions want the cores as well; on two cores more workers only add timeouts.
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    // Real databases on busy machines: a limit for what hangs, not a measure of what is slow.
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
    reporters: ['default', './test/support/summary-reporter.ts'],
    // Never passes because nothing was found.
    passWithNoTests: false,
  },
});
