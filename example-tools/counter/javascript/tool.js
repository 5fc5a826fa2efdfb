// Counts things, and remembers how many there were: state in a granted store.
//
// Counts go up by one operation of the store, so that calls at the same time lose nothing. How high a count may be asked
// to go at once is configuration.

import * as config from './sdk/config.js';
import { ToolError, json, schema, tool, tools } from './sdk/index.js';
import * as kv from './sdk/kv.js';

// The name of the store in the grant.
const STORE = 'counters';

// The most by which one call counts, if the key `step_max` of the configuration says nothing else.
const STEP_MAX = 1_000;

export const count = tool({
  name: 'count',
  description: 'Counts: adds to a counter, which begins at 0, and gives its new total.',
  input: schema.object({
    name: schema.string('What is counted.'),
    more: schema.optional(schema.integer('How many more there are.', { minimum: 0 })),
  }),
  output: schema.object({
    name: schema.string('What is counted.'),
    total: schema.integer('How many there were so far.'),
  }),
  run({ name, more = 1 }) {
    const most = stepMax();
    if (more > most) {
      throw ToolError.invalidArguments(`at most ${most} are counted at once`);
    }
    return json({ name, total: kv.open(STORE).increment(name, more) });
  },
});

export const totals = tool({
  name: 'totals',
  description: 'Gives all totals.',
  output: schema.record(schema.string()),
  run() {
    const store = kv.open(STORE);
    const keys = store.keys();
    const found = {};
    for (let start = 0; start < keys.length; start += 1_000) {
      const some = keys.slice(start, start + 1_000);
      store.getMany(some).forEach((value, index) => {
        // One that was reset meanwhile is not there any more.
        if (value !== undefined) {
          found[some[index]] = new TextDecoder().decode(value);
        }
      });
    }
    return json(found);
  },
});

export const reset = tool({
  name: 'reset',
  description: 'Forgets a counter: it begins at 0 again.',
  input: schema.object({ name: schema.string('What was counted.') }),
  run({ name }) {
    kv.open(STORE).delete(name);
  },
});

// A tool that was set up without any configuration goes by what it has itself.
function stepMax() {
  try {
    return config.parse('step_max', Number) ?? STEP_MAX;
  } catch (error) {
    if (error.kind === 'unavailable') {
      return STEP_MAX;
    }
    throw error;
  }
}

const offered = tools(count, totals, reset);
export { offered as tools };
