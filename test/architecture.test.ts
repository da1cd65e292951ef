// The rules of docs/decisions/0001-architecture.md, kept by a tool: which way imports point, who may read the clock and the
// environment, where SQL lives, and how large a file and a function may be.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LINES_PER_FILE = 300;

interface Source {
  path: string;
  text: string;
  /** Paths of what it imports from this project. */
  imports: string[];
  /** Packages and builtins. */
  packages: string[];
}

const sources: Source[] = ['src', 'workers', 'demo', 'sim'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.startsWith('generated'))
    .map((name) => read(posix.join(folder, name.replaceAll('\\', '/')))),
);

function read(path: string): Source {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1]!);
  const imports = specifiers
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => posix.normalize(posix.join(posix.dirname(path), specifier)));
  return { path, text, imports, packages: specifiers.filter((specifier) => !specifier.startsWith('.')) };
}

const layerOf = (path: string): string =>
  path
    .split('/')
    .slice(0, path.startsWith('src/') ? 2 : 1)
    .join('/');
const within = (...layers: string[]) => sources.filter(({ path }) => layers.includes(layerOf(path)));

/** What each layer may import of this project, itself included. */
const MAY_IMPORT: Record<string, string[]> = {
  'src/domain': ['src/domain'],
  'src/store': ['src/store', 'src/domain', 'src/errors.ts', 'src/generated'],
  'src/lib': ['src/lib', 'src/store', 'src/domain', 'src/errors.ts', 'src/context.ts'],
  'src/stripe': [
    'src/stripe',
    'src/lib',
    'src/store',
    'src/domain',
    'src/errors.ts',
    'src/context.ts',
    'src/config.ts',
  ],
  'src/finance': [
    'src/finance',
    'src/stripe',
    'src/lib',
    'src/store',
    'src/domain',
    'src/errors.ts',
    'src/context.ts',
  ],
  'src/http': [
    'src/http',
    'src/finance',
    'src/stripe',
    'src/lib',
    'src/store',
    'src/domain',
    'src/errors.ts',
    'src/context.ts',
    'src/config.ts',
  ],
  'src/sandbox': ['src/sandbox'],
  'src/embedded': ['src/embedded'],
  workers: [
    'workers',
    'src/finance',
    'src/stripe',
    'src/lib',
    'src/store',
    'src/errors.ts',
    'src/context.ts',
    'src/config.ts',
    'src/queue.ts',
  ],
};

describe('imports', () => {
  it.each(Object.entries(MAY_IMPORT))('of %s point only down', (layer, allowed) => {
    const wrong = within(layer).flatMap(({ path, imports }) =>
      imports.filter((to) => !allowed.includes(layerOf(to))).map((to) => `${path} → ${to}`),
    );
    expect(wrong).toEqual([]);
  });

  it('of workers come from workers alone, but for the one place that starts everything', () => {
    const wrong = sources.filter(
      ({ path, imports }) =>
        path !== 'src/local.ts' && path.startsWith('src/') && imports.some((to) => layerOf(to) === 'workers'),
    );
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it('of the pure rules name no package', () => {
    const packages = new Set(within('src/domain').flatMap((source) => source.packages));
    expect([...packages]).toEqual([]);
  });

  it('have no cycle among files', () => {
    const graph = new Map(
      sources.map(({ path, text, imports }) => [path, withoutTypes(path, text, imports)]),
    );
    expect(findCycle(graph)).toBeUndefined();
  });
});

/** Type imports vanish at run time, so they make no cycle. */
function withoutTypes(path: string, text: string, imports: string[]): string[] {
  const typeOnly = [...text.matchAll(/import type [^;]*? from '([^']+)'/g)].map((match) =>
    posix.normalize(posix.join(posix.dirname(path), match[1]!)),
  );
  return imports.filter((to) => !typeOnly.includes(to));
}

function findCycle(graph: Map<string, string[]>): string[] | undefined {
  const done = new Set<string>();
  const visit = (path: string, trail: string[]): string[] | undefined => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
    if (done.has(path)) return undefined;
    for (const to of graph.get(path) ?? []) {
      const cycle = visit(to, [...trail, path]);
      if (cycle) return cycle;
    }
    done.add(path);
    return undefined;
  };
  for (const path of graph.keys()) {
    const cycle = visit(path, []);
    if (cycle) return cycle;
  }
  return undefined;
}

const using = (pattern: RegExp, files: Source[], except: string[] = []): string[] =>
  files.filter(({ path, text }) => pattern.test(text) && !except.includes(path)).map(({ path }) => path);

describe('each thing has one place', () => {
  it('the environment is read in config.ts', () => {
    const ours = sources.filter(({ path }) => layerOf(path) !== 'src/embedded');
    expect(using(/process\.env/, ours, ['src/config.ts'])).toEqual([]);
  });

  it('business time comes from the context', () => {
    // Signatures and tokens are checked by wall time (RFC 7519; Stripe's tolerance), the embedded server waits by it, and
    // ids sort by it (RFC 9562).
    const wired = [
      'src/context.ts',
      'src/http/jwt.ts',
      'src/stripe/webhook.ts',
      'src/lib/workflows.ts',
      'src/store/ids.ts',
      'src/sandbox/index.ts',
    ];
    const ours = sources.filter(({ path }) => layerOf(path) !== 'src/embedded');
    expect(using(/\bDate\.now\b|new Date\(\)/, ours, wired)).toEqual([]);
  });

  it('SQL is in store/', () => {
    const ours = sources.filter(({ path }) => !['src/store', 'src/embedded'].includes(layerOf(path)));
    // Opening a context or a queue asks whether the database is there; a local one makes its database.
    const except = ['src/context.ts', 'src/local.ts', 'src/queue.ts'];
    expect(using(/\b(pool|tx|client)\.query\(/, ours, except)).toEqual([]);
    expect(using(/\$(queryRaw|executeRaw)/, sources)).toEqual([]);
  });

  it('nothing is printed past the log but by the commands', () => {
    expect(using(/console\.\w+\(/, sources)).toEqual([]);
  });
});

describe('size', () => {
  it(`no file has over ${LINES_PER_FILE} lines`, () => {
    const long = sources.filter(({ text }) => text.trimEnd().split('\n').length > LINES_PER_FILE);
    expect(long.map(({ path, text }) => `${path}: ${text.split('\n').length}`)).toEqual([]);
  });

  it('no function has over 60 lines, by the linter, whose rule this is', () => {
    const config = JSON.parse(readFileSync(join(ROOT, 'biome.json'), 'utf8'));
    expect(config.linter.rules.complexity.noExcessiveLinesPerFunction).toEqual({
      level: 'error',
      options: { maxLines: 60, skipBlankLines: false },
    });
    const lint = spawnSync(process.execPath, [
      join(ROOT, 'node_modules/@biomejs/biome/bin/biome'),
      'lint',
      '--only=complexity/noExcessiveLinesPerFunction',
      ...['src', 'workers', 'demo', 'sim'].map((folder) => join(ROOT, folder)),
    ]);
    expect(`${lint.stdout}${lint.stderr}`).not.toMatch(/noExcessiveLinesPerFunction/);
    expect(lint.status).toBe(0);
  });
});
