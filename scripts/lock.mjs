// package-lock.json must name every optional platform package that its packages name. A registry that answers 404 for
// one of them makes npm drop it from the lock, and `npm ci` then refuses that lock on every machine ("Missing:
// @biomejs/cli-darwin-x64 from lock file"). `fix` adds what is missing, `check` fails if anything is.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const FILE = fileURLToPath(new URL('../package-lock.json', import.meta.url));
const SYSTEMS = [
  'darwin',
  'linux',
  'android',
  'freebsd',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'aix',
  'win32',
];
const CPUS = ['arm64', 'x64', 'ia32', 'ppc64', 's390x', 'riscv64', 'loong64', 'mips64el', 'arm'];

/** The package's name, whatever folder of node_modules it is in. */
const nameOf = (key) => key.slice(key.lastIndexOf('node_modules/') + 'node_modules/'.length);

function missing(packages) {
  const present = new Set(
    Object.keys(packages)
      .filter((key) => key !== '')
      .map(nameOf),
  );
  return Object.entries(packages).flatMap(([key, entry]) =>
    Object.entries(entry.optionalDependencies ?? {})
      .filter(([name]) => !present.has(name))
      .map(([name, range]) => ({ name, range, dev: entry.dev === true, wantedBy: nameOf(key) })),
  );
}

/** Addresses of the registry that the lock was made with; others may not reach it. */
function addresses(packages) {
  return Object.entries(packages).filter(([, entry]) => /^https?:/.test(entry.resolved ?? ''));
}

/** The entry npm writes, but without an integrity: it is known only to a registry that has the package. */
function platformEntry({ name, range, dev }) {
  const words = name.replace('windows', 'win32').split(/[-/@]/);
  const os = SYSTEMS.find((system) => words.includes(system));
  const cpu = CPUS.find((each) => words.includes(each));
  return {
    version: range.replace(/^[\^~]/, ''),
    ...(cpu ? { cpu: [cpu] } : {}),
    ...(dev ? { dev: true } : {}),
    optional: true,
    ...(os ? { os: [os] } : {}),
  };
}

function fix(lock) {
  const gaps = missing(lock.packages);
  for (const gap of gaps) lock.packages[`node_modules/${gap.name}`] = platformEntry(gap);
  const withAddress = addresses(lock.packages);
  for (const [, entry] of withAddress) delete entry.resolved;
  const sorted = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en'));
  lock.packages = Object.fromEntries(sorted);
  writeFileSync(FILE, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(
    `package-lock.json: ${gaps.length} platform packages added, ${withAddress.length} addresses removed.`,
  );
}

function check(lock) {
  const gaps = missing(lock.packages).map((gap) => `${gap.name} (wanted by ${gap.wantedBy}) is missing`);
  const withAddress = addresses(lock.packages).map(([key]) => `${nameOf(key)} holds a registry's address`);
  const faults = [...gaps, ...withAddress];
  if (faults.length === 0) {
    console.log('package-lock.json: complete for every platform.');
    return;
  }
  console.error(
    `package-lock.json:\n  ${faults.join('\n  ')}\nRun "npm run lock:fix" and commit the result.`,
  );
  process.exitCode = 1;
}

const actions = { fix, check };
const action = actions[process.argv[2]];
if (action) action(JSON.parse(readFileSync(FILE, 'utf8')));
else {
  console.error('Usage: node scripts/lock.mjs fix | check');
  process.exitCode = 1;
}
