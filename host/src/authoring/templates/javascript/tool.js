// The interface `text` of wit/world.wit. Its doc comments are what agents read.

export const text = {
  count(text) {
    const lines = text.split('\n');
    if (lines.at(-1) === '') {
      lines.pop();
    }
    return { words: text.split(/\s+/).filter(Boolean).length, lines: lines.length };
  },
};
