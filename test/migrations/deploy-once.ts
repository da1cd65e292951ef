// One deployer as a process of its own, for the tests that run several at once.
import { migrate } from '../../src/store/migrate.ts';

const [databaseUrl = '', prismaFolder = ''] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await migrate(databaseUrl, prismaFolder)));
