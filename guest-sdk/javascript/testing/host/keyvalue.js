import { refuse, world } from '../world.js';

// How many keys come on one page: few, so that tests see several.
const PAGE_KEYS_MAX = 3;
const NUMBER_END = 1n << 64n;

const other = (val) => refuse({ tag: 'other', val });

/** As the host has it. */
function check(key) {
  const length = new TextEncoder().encode(key).length;
  if (length < 1 || length > 1024 || key.includes('\0')) {
    throw other(`${JSON.stringify(key)} is not a valid key`);
  }
}

class Bucket {
  constructor(entries) {
    this.entries = entries;
  }

  get(key) {
    return this.entries.get(key);
  }

  set(key, value) {
    check(key);
    this.entries.set(key, value);
  }

  delete(key) {
    this.entries.delete(key);
  }

  exists(key) {
    return this.entries.has(key);
  }

  listKeys(cursor) {
    const start = Number(cursor ?? 0n);
    const keys = [...this.entries.keys()];
    const end = start + PAGE_KEYS_MAX;
    return { keys: keys.slice(start, end), cursor: end < keys.length ? BigInt(end) : undefined };
  }
}

export function open(name) {
  const entries = world.stores.get(name);
  if (entries === undefined) {
    throw refuse({ tag: 'access-denied' });
  }
  return new Bucket(entries);
}

export function increment(bucket, key, delta) {
  const held = new TextDecoder().decode(bucket.get(key) ?? new TextEncoder().encode('0'));
  if (!/^[0-9]+$/.test(held) || BigInt(held) >= NUMBER_END) {
    throw other('the value is not a decimal number');
  }
  const total = BigInt(held) + delta;
  if (total >= NUMBER_END) {
    throw other('the sum is too large');
  }
  bucket.set(key, new TextEncoder().encode(String(total)));
  return total;
}

export function getMany(bucket, keys) {
  return keys.map((key) => (bucket.exists(key) ? [key, bucket.get(key)] : undefined));
}

export function setMany(bucket, entries) {
  entries.forEach(([key]) => check(key));
  entries.forEach(([key, value]) => bucket.set(key, value));
}

export function deleteMany(bucket, keys) {
  keys.forEach((key) => bucket.delete(key));
}
