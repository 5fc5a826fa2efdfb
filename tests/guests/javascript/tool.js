// Tools in JavaScript: the language alone, the web interfaces of its engine, and WASI by name.

import { getDirectories } from 'wasi:filesystem/preopens@0.2.12';

// The most of a file that is read.
const FILE_BYTES_MAX = 1n << 20n;

// What a function of WIT with a `result` throws is its error.
function attempt(task) {
  try {
    return task();
  } catch (error) {
    throw text(error);
  }
}

// An error as text: a code of WASI, a message, or whatever was thrown.
function text(error) {
  return String(error?.payload ?? error?.message ?? error);
}

// The granted folder that holds a path, and the path below it.
function below(path) {
  for (const [folder, root] of getDirectories()) {
    if (path.startsWith(`${root}/`)) {
      return [folder, path.slice(root.length + 1)];
    }
  }
  throw new Error(`no granted folder holds ${path}`);
}

export const tools = {
  roundTrip: (value) => value,

  now: () => Date.now(),

  random: (count) => crypto.getRandomValues(new Uint8Array(count)),

  say(out, err) {
    console.log(out);
    console.error(err);
  },

  async fetch(url) {
    try {
      const response = await fetch(url);
      return await response.text();
    } catch (error) {
      throw text(error);
    }
  },

  query: (document, field, least) =>
    attempt(() => {
      const rows = JSON.parse(document);
      if (!Array.isArray(rows)) {
        throw new Error('the document is not an array');
      }
      const found = rows.filter((row) => typeof row?.[field] === 'number' && row[field] >= least);
      found.sort((one, other) => one[field] - other[field]);
      return JSON.stringify(found);
    }),

  readFile: (path) =>
    attempt(() => {
      const [folder, name] = below(path);
      const file = folder.openAt({}, name, {}, { read: true });
      const [bytes] = file.read(FILE_BYTES_MAX, 0n);
      return new TextDecoder().decode(bytes);
    }),

  spin() {
    for (;;) {}
  },

  async sleep(milliseconds) {
    await new Promise((done) => setTimeout(done, milliseconds));
  },

  allocate: (bytes) =>
    attempt(() => {
      const held = new Uint8Array(bytes).fill(1);
      return held.length;
    }),

  throw(message) {
    throw new Error(message);
  },
};
