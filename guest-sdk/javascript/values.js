// JSON as the host has it.

/** A key as RFC 9535 writes it, which is how the host does. */
export function key(path, name) {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? `${path}.${name}` : `${path}[${JSON.stringify(name)}]`;
}

/** A value as JSON text. What JSON can't hold is an error, where JSON.stringify leaves it out. */
export function text(value) {
  return JSON.stringify(value, function check(name, given) {
    if (typeof given === 'bigint') {
      const number = Number(given);
      if (!Number.isSafeInteger(number)) {
        throw new Error(`${given} can't be written exactly as a number of JSON: give it as text`);
      }
      return number;
    }
    if (typeof given === 'number' && !Number.isFinite(given)) {
      throw new Error(`${given} can't be written as JSON`);
    }
    const isLeftOut = given === undefined && !Array.isArray(this) && name !== '';
    if (typeof given === 'function' || typeof given === 'symbol' || (given === undefined && !isLeftOut)) {
      throw new Error(`${typeof given} can't be written as JSON`);
    }
    return given;
  });
}
