// Without wasm: `npm test`.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Structured } from './sdk/index.js';
import { call } from './sdk/testing.js';
import { count } from './tool.js';

test('words and lines are counted', async () => {
  assert.deepEqual(await call(count, { text: 'one two\nthree' }), [new Structured({ words: 3, lines: 2 })]);
});

test('it takes nothing but text', async () => {
  await assert.rejects(call(count, { text: 7 }), { kind: 'invalid-arguments' });
});
