// What the SDK does on the author's machine: node --import ./testing/register.js --test tests/*.test.js

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import * as config from '../config.js';
import * as http from '../http.js';
import { Image, Resource, Structured, Text, ToolError, json, schema, tool, tools } from '../index.js';
import * as invoke from '../invoke.js';
import * as kv from '../kv.js';
import * as log from '../log.js';
import * as progress from '../progress.js';
import * as secrets from '../secrets.js';
import { call, callText, furnish } from '../testing.js';

beforeEach(() => furnish.renew());

const add = tool({
  name: 'add',
  description: 'Adds.',
  input: schema.object({
    a: schema.integer('The first.'),
    b: schema.optional(schema.integer('The second.', { maximum: 10 })),
  }),
  output: schema.object({ sum: schema.integer() }),
  run: ({ a, b = 1 }) => json({ sum: BigInt(a) + BigInt(b) }),
});

test('a definition is what was declared, and a property that may lack is not required', () => {
  const { name, inputSchema } = add.definition;
  assert.equal(name, 'add');
  assert.deepEqual(inputSchema, {
    type: 'object',
    properties: {
      a: { type: 'integer', description: 'The first.' },
      b: { type: 'integer', description: 'The second.', maximum: 10 },
    },
    additionalProperties: false,
    required: ['a'],
  });
  const [listed] = tools(add).listTools();
  assert.deepEqual(JSON.parse(listed.inputSchema), inputSchema);
});

test('arguments are checked as the host checks them', async () => {
  assert.deepEqual(await call(add, { a: 2 }), [new Structured({ sum: 3 })]);
  for (const [given, told] of [
    [{}, '$: a is missing'],
    [{ a: '2' }, '$.a: it is not of type integer'],
    [{ a: 2.5 }, '$.a: it is not of type integer'],
    [{ a: 2, b: 11 }, '$.b: it is more than 10'],
    [{ a: 2, c: 1 }, '$: there is no such key as c'],
  ]) {
    await assert.rejects(call(add, given), { kind: 'invalid-arguments', message: told });
  }
  await assert.rejects(callText(add, '[]'), { message: '$: the arguments must be a JSON object' });
  await assert.rejects(callText(add, '{'), { kind: 'invalid-arguments' });
});

test('what a tool returns is content, and what it throws is told or left to end the call', async () => {
  const returning = (run) => tool({ name: 'one', description: 'One.', run });
  const image = Image.png(new Uint8Array([1]));
  assert.deepEqual(await call(returning(() => ['a', image, [new Resource('a:b', 'c')]]), {}), [
    new Text('a'),
    image,
    new Resource('a:b', 'c'),
  ]);
  assert.deepEqual(await call(returning(async () => undefined), {}), []);
  const throwing = (error) =>
    call(
      returning(() => {
        throw error;
      }),
      {},
    );
  await assert.rejects(throwing(new Error('no')), { name: 'ToolError', kind: 'failed', message: 'no' });
  await assert.rejects(throwing(ToolError.invalidArguments('a')), { kind: 'invalid-arguments' });
  await assert.rejects(throwing(new TypeError('a mistake')), TypeError);
  await assert.rejects(call(returning(() => [json(1), json(2)]), {}), { kind: 'failed' });
  await assert.rejects(call(returning(() => json({ a: 2n ** 60n })), {}), /can't be written exactly/);
  await assert.rejects(call(returning(() => json({ a: NaN })), {}), /can't be written as JSON/);
  await assert.rejects(call(returning(() => 7), {}), TypeError);
});

test('what the host would refuse is refused when it is declared', () => {
  const declared = { name: 'a', description: 'A.', run() {} };
  assert.throws(() => tool({ ...declared, name: 'a b' }), TypeError);
  assert.throws(() => tool({ ...declared, description: ' ' }), TypeError);
  assert.throws(() => tool({ ...declared, run: undefined }), TypeError);
  assert.throws(() => tools(tool(declared), tool(declared)), /two tools/);
});

test('an exported interface gives the errors of the world', async () => {
  const offered = tools(add);
  assert.deepEqual(await offered.callTool('add', '{"a": 1}'), [{ tag: 'structured', val: '{"sum":2}' }]);
  await assert.rejects(offered.callTool('sub', '{}'), (error) => {
    assert.deepEqual(error, { kind: 'invalid-arguments', message: 'there is no tool sub' });
    return true;
  });
});

test('a store is what was furnished, and nothing without', () => {
  assert.throws(() => kv.open('a'), { kind: 'access-denied' });
  furnish.store('a');
  const store = kv.open('a');
  assert.equal(store.get('x'), undefined);
  store.setJson('x', { a: 1 });
  assert.deepEqual(store.getJson('x'), { a: 1 });
  assert.equal(store.increment('n', 2), 2n);
  assert.equal(store.increment('n', 2n ** 63n), 2n ** 63n + 2n);
  assert.throws(() => store.increment('n', 2n ** 63n), { kind: 'other' });
  assert.throws(() => store.increment('n', -1), { kind: 'other' });
  assert.throws(() => store.increment('x', 1), { message: 'the value is not a decimal number' });
  store.setMany([['a', '1'], ['b', '2'], ['c', '3']]);
  assert.deepEqual(store.keys(), ['x', 'n', 'a', 'b', 'c']);
  assert.deepEqual(store.getMany(['a', 'none']), [new TextEncoder().encode('1'), undefined]);
  store.deleteMany(['a', 'b']);
  store.delete('c');
  assert.equal(store.exists('c'), false);
  assert.throws(() => store.set('', 'a'), { kind: 'other' });
  store.set('t', 'no json');
  assert.throws(() => store.getJson('t'), { kind: 'json' });
});

test('configuration, secrets, lines and steps', () => {
  assert.throws(() => config.get('a'), { kind: 'unavailable' });
  furnish.config('a', '7');
  assert.equal(config.get('b'), undefined);
  assert.equal(config.parse('a', Number), 7);
  furnish.config('c', 'x');
  assert.throws(() => config.parse('c', Number), { kind: 'invalid' });
  assert.throws(() => secrets.get('s'), { kind: 'not-permitted' });
  furnish.secret('s', 'hidden');
  const secret = secrets.get('s');
  assert.equal(secret.text(), 'hidden');
  assert.ok(!JSON.stringify(secret).includes('hidden'));
  log.warn('careful');
  progress.report(1, 2, 'half');
  assert.deepEqual(furnish.lines(), [['warn', '', 'careful']]);
  assert.deepEqual(furnish.steps(), [[1, 2, 'half']]);
  assert.equal(progress.isCancelled(), false);
  furnish.cancel();
  assert.equal(progress.isCancelled(), true);
});

test('requests reach what was furnished, as they were made up', () => {
  const send = () => http.post('https://a.test/b').query('q', "a b'").header('x', 'y').json({ c: 1 }).send();
  assert.throws(send, { kind: 'denied' });
  furnish.server(({ method, path, body }) => ({
    status: method === 'POST' ? 201 : 404,
    headers: [['X-Path', path]],
    body,
  }));
  const answer = send();
  assert.deepEqual([answer.success().status, answer.header('x-path'), answer.json()], [201, '/b?q=a%20b%27', { c: 1 }]);
  assert.throws(() => http.get('https://a.test').send().success(), { kind: 'status', status: 404 });
  furnish.server(() => ({ body: 'abc' }));
  assert.throws(() => http.get('https://a.test').answerBytesMax(2).send(), { kind: 'too-long' });
  assert.throws(() => http.get('https://a.test').send().json(), { kind: 'body' });
  for (const bad of ['', 'a.test/b', 'ftp://a.test', 'https://', 'https:///b', 'https://user:pass@a.test/']) {
    assert.throws(() => http.get(bad), { kind: 'request' }, bad);
  }
});

test('other tools answer as they were furnished', () => {
  assert.throws(() => invoke.call('p', 't', {}), { kind: 'denied' });
  furnish.tools((packageName, name, given) => {
    if (name === 'bad') {
      throw new invoke.InvokeError('failed', 'it rained');
    }
    return { content: [{ type: 'text', text: packageName }], structured: given };
  });
  const answer = invoke.call('p', 't', { a: 1 });
  assert.deepEqual([answer.text(), answer.structured], ['p', { a: 1 }]);
  assert.throws(() => invoke.call('p', 'bad', {}), { kind: 'failed', message: 'the tool failed: it rained' });
});
