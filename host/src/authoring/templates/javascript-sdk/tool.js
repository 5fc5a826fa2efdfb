// One tool. What agents read of it are its description and those of its arguments.

import { json, schema, tool, tools } from './sdk/index.js';

export const count = tool({
  name: 'count',
  description: 'Counts the words and lines of a text.',
  input: schema.object({ text: schema.string('The text.') }),
  output: schema.object({
    words: schema.integer('What stands between white space.'),
    lines: schema.integer('A last line need not end.'),
  }),
  run({ text }) {
    const lines = text.split('\n');
    if (lines.at(-1) === '') {
      lines.pop();
    }
    return json({ words: text.split(/\s+/).filter(Boolean).length, lines: lines.length });
  },
});

const offered = tools(count);
export { offered as tools };
