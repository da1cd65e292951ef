import { defineConfig } from 'prisma/config';

// `prisma generate`, `validate` and `format` look for the native schema engine although they never run it, and
// download it from binaries.prisma.sh (4.9 s, then a failure where there is no internet). Any existing file stops
// that. Never for `prisma migrate`, which would run it: with /bin/true it reported "4 migrations found", applied none
// and exited 0. Our migrations go through src/store/migrate.ts and need no CLI.
if (['generate', 'validate', 'format'].some((command) => process.argv.includes(command))) {
  process.env.PRISMA_SCHEMA_ENGINE_BINARY ??= process.execPath;
}

export default defineConfig({
  schema: 'prisma/schema.prisma',
  migrations: { path: 'prisma/migrations' },
  datasource: { url: process.env.DATABASE_URL ?? '' },
});
