// Says how much there is of a text, and which words it has most: a pure computation.

import { ToolError, json, schema, tool, tools } from './sdk/index.js';

// The most words that are listed.
const TOP_MAX = 100;

export const stats = tool({
  name: 'stats',
  description: 'Says how many lines and words a text has, and which words are there most.',
  input: schema.object({
    text: schema.string('The text.'),
    top: schema.optional(schema.integer('How many words are listed.', { minimum: 0 })),
  }),
  output: schema.object({
    lines: schema.integer('Lines; the last need not end.'),
    words: schema.integer('What stands between white space.'),
    top: schema.array(
      schema.object({
        word: schema.string('In lower case.'),
        times: schema.integer('How often it is there.'),
      }),
      'The words that are there most: by their number, then by the alphabet.',
    ),
  }),
  run({ text, top = 3 }) {
    if (top > TOP_MAX) {
      throw ToolError.invalidArguments(`at most ${TOP_MAX} words are listed`);
    }
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const times = new Map();
    for (const word of words) {
      times.set(word, (times.get(word) ?? 0) + 1);
    }
    const listed = [...times].map(([word, times]) => ({ word, times }));
    listed.sort((one, other) => other.times - one.times || (one.word < other.word ? -1 : 1));
    const ended = text.split('\n');
    const lines = ended.length - (ended.at(-1) === '' ? 1 : 0);
    return json({ lines, words: words.length, top: listed.slice(0, top) });
  },
});

const offered = tools(stats);
export { offered as tools };
