// What tests/guests/echo is in Rust, by the same WIT: each function gives back what it got.

// What it got, made of JavaScript's own values on the way.
const same = (value) => value;

// A result as the result: what is thrown is the tool's error.
function attempt(value) {
  if (value.tag === 'err') {
    throw value.val;
  }
  return value.val;
}

// The same names as in WIT, in the order of their declaration.
const PERMISSIONS = { read: 'read', write: 'write', executeAll: 'execute-all' };

export const values = {
  truth: same,
  unsigned8: same,
  unsigned16: same,
  unsigned32: same,
  unsigned64: same,
  signed8: same,
  signed16: same,
  signed32: same,
  signed64: same,
  float32: same,
  float64: same,
  character: same,
  text: same,
  bytes: same,
  texts: same,
  matrix: same,
  structure: same,
  pair: same,
  choice: same,
  enumeration: same,
  set: same,
  maybe: same,
  maybeMaybe: same,
  outcome: same,
  characters: same,
  pairs: same,
  gaps: same,
  manyFlags: same,
  everyOutcome: same,
  maybeChoice: same,
  nested: same,
  attempt,
  attemptOk: attempt,
  attemptErr: attempt,

  bareAttempt(fail) {
    if (fail) {
      throw undefined;
    }
  },

  structuredFailure(value) {
    throw value;
  },

  several(first, second, third) {
    const some = second === undefined ? 'None' : `Some(${second})`;
    return `${first} ${some} [${third.join(', ')}]`;
  },

  seventeen(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q) {
    const flags = Object.keys(PERMISSIONS).filter((name) => p[name]).map((name) => PERMISSIONS[name]);
    const point = q === undefined ? 'none' : `${q.x},${q.y}`;
    return [a, b, c, d, e, f, g, h, i, j, k, l, m, n.join('+'), o, flags.join('+'), point].join(' ');
  },

  nothing() {},

  constant: () => 42,

  longText: (characters) => 'x'.repeat(characters),

  longBytes: (count) => new Uint8Array(count).fill(7),
};

export const shout = (text) => text.toUpperCase();
