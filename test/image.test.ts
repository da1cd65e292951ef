import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { API_FLAGS } from '../scripts/node-flags.mjs';

it('the image serves the API with the flags of Node that `npm start` gives it', () => {
  const dockerfile = readFileSync(new URL('../Dockerfile', import.meta.url), 'utf8');
  const command = /^CMD (\[.*\])$/m.exec(dockerfile)?.[1] ?? 'null';
  expect(JSON.parse(command)).toEqual(['node', ...API_FLAGS, '--import', 'tsx', 'src/server.ts']);
});
