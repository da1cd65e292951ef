/** A seed for a property test, said aloud: TEST_SEED repeats a run. */
export function announceSeed(name: string): number {
  const given = process.env.TEST_SEED;
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
  process.stdout.write(`${name}: seed ${seed} (repeat with TEST_SEED=${seed})\n`);
  return seed;
}
