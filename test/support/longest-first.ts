// The order in which files begin. What takes minutes comes first: last, it would have one core to itself for as long while
// the other has nothing to do (four of twenty minutes). vitest's own order knows how long a file took only where it has
// run before.
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const LONGEST = ['test/convergence/real.test.ts', 'test/properties/ledger.test.ts'];

const isLong = ({ moduleId }: TestSpecification): boolean => LONGEST.some((file) => moduleId.endsWith(file));

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}
