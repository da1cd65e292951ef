// Run as a process of its own by the tests that kill it: starts PostgreSQL in a folder, says so, and stays.
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts';

const postgres = await startEmbeddedPostgres({ dataDir: process.argv[2] ?? '' });
// What Ctrl-C in a terminal sends to everybody; a service would now finish its requests.
process.on('SIGINT', () => process.stdout.write('interrupted\n'));
process.stdout.write(`${postgres.url('postgres')}\n`);
setInterval(() => undefined, 60_000);
