// Uses each helper of the SDK, and gives every kind of content. `python/app.py` is the same.

import * as config from './sdk/config.js';
import * as http from './sdk/http.js';
import { Audio, Image, Resource, ToolError, json, schema, tool, tools } from './sdk/index.js';
import * as invoke from './sdk/invoke.js';
import * as kv from './sdk/kv.js';
import * as log from './sdk/log.js';
import * as progress from './sdk/progress.js';
import * as secrets from './sdk/secrets.js';

const url = schema.object({ url: schema.string('Where a request goes.') });
const bytes = (text) => new TextEncoder().encode(text);

const useAll = tool({
  name: 'use_all',
  description: 'Uses each helper.',
  input: url,
  async run({ url }) {
    log.warn('began');
    log.write('debug', 'helpers', 'went on');
    progress.report(1, 2, 'half');
    const store = kv.open('all');
    store.setJson('a', { b: [1, null] });
    store.setMany([['c', new Uint8Array([0, 255])], ['d', '2']]);
    const total = store.increment('d', 40);
    const answer = http
      .post(url)
      .header('x-said', 'so')
      .query('q', 'a b')
      .json({ large: 'x'.repeat(10_000) })
      .send();
    const told = invoke.call('echo', 'text', { value: 'größer' });
    await Promise.resolve();
    return json({
      config: config.all(),
      json: store.getJson('a'),
      keys: store.keys(),
      many: store.getMany(['c', 'none']).map((value) => value?.length ?? null),
      total,
      status: answer.status,
      answer: answer.json(),
      header: answer.header('X-Answer'),
      secret: secrets.get('hidden').bytes().length,
      invoked: told.structured,
      cancelled: progress.isCancelled(),
    });
  },
});

const tryAll = tool({
  name: 'try_all',
  description: 'Tries each helper, and gives the kinds of errors.',
  input: url,
  run({ url }) {
    const tries = {
      config: () => config.get('a'),
      http: () => http.get(url).send(),
      invoke: () => invoke.call('echo', 'text', { value: 'a' }),
      kv: () => kv.open('all'),
      secrets: () => secrets.get('hidden'),
    };
    const found = {};
    for (const [name, attempt] of Object.entries(tries)) {
      try {
        attempt();
        found[name] = 'granted';
      } catch (error) {
        found[name] = error.kind;
      }
    }
    return json(found);
  },
});

const tooLong = tool({
  name: 'too_long',
  description: 'Takes an answer of one byte only.',
  input: url,
  run: ({ url }) => http.get(url).answerBytesMax(1).send().text(),
});

const contents = tool({
  name: 'contents',
  description: 'Gives every kind of content.',
  run: () => [
    'text',
    Image.png(new Uint8Array([0x89, ...bytes('PNG')])),
    new Audio('audio/wav', bytes('RIFF')),
    new Resource('note:///a', '# A', 'text/markdown'),
    new Resource('data:///b', new Uint8Array([0])),
  ],
});

const mistake = tool({
  name: 'mistake',
  description: 'Makes a mistake.',
  run() {
    throw new TypeError('not meant to be told');
  },
});

const fail = tool({
  name: 'fail',
  description: 'Fails.',
  input: schema.object({ of: schema.string('arguments or tool') }),
  run({ of }) {
    throw of === 'arguments' ? ToolError.invalidArguments('bad') : new Error('failed');
  },
});

const offered = tools(useAll, tryAll, tooLong, contents, mistake, fail);
export { offered as tools };
