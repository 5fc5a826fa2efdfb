// State that outlives a call, in a store that a grant names (`[[grant.keyvalue]]`).
//
// Of calls that run at once, `increment`, `setMany` and `deleteMany` are each made as one; between a `get` and a `set`
// another call may write.

import * as atomics from 'wasi:keyvalue/atomics@0.2.0-draft';
import * as batch from 'wasi:keyvalue/batch@0.2.0-draft';
import * as store from 'wasi:keyvalue/store@0.2.0-draft';

import { HostError } from './error.js';
import { text } from './values.js';

/** Why a store did not do what was asked: by its kind `no-such-store`, `access-denied`, `other` or `json`. */
export class KvError extends HostError {
  constructor(kind, reason) {
    const texts = {
      'no-such-store': 'there is no such store',
      'access-denied': 'the store is not granted to this tool for this',
      json: `the value is not the JSON that was expected: ${reason}`,
    };
    super(kind, texts[kind] ?? reason);
  }
}

function asked(task) {
  try {
    return task();
  } catch (error) {
    const payload = error?.payload;
    throw payload === undefined ? error : new KvError(payload.tag, payload.val);
  }
}

function read(task) {
  try {
    return task();
  } catch (error) {
    throw new KvError('json', error.message);
  }
}

const bytes = (value) => (typeof value === 'string' ? new TextEncoder().encode(value) : value);

/** Opens a store by the name that grants give it. KvError without a grant. */
export function open(name) {
  return new Store(asked(() => store.open(name)));
}

/** An open store. Each of its functions may throw KvError. */
export class Store {
  #bucket;

  constructor(bucket) {
    this.#bucket = bucket;
  }

  get(key) {
    return asked(() => this.#bucket.get(key)) ?? undefined;
  }

  getJson(key) {
    const value = this.get(key);
    return value === undefined ? undefined : read(() => JSON.parse(new TextDecoder().decode(value)));
  }

  set(key, value) {
    asked(() => this.#bucket.set(key, bytes(value)));
  }

  setJson(key, value) {
    this.set(key, read(() => text(value)));
  }

  delete(key) {
    asked(() => this.#bucket.delete(key));
  }

  exists(key) {
    return asked(() => this.#bucket.exists(key));
  }

  keys() {
    const keys = [];
    let cursor;
    do {
      const page = asked(() => this.#bucket.listKeys(cursor));
      keys.push(...page.keys);
      cursor = page.cursor ?? undefined;
    } while (cursor !== undefined);
    return keys;
  }

  increment(key, delta) {
    const more = BigInt(delta);
    if (more < 0n || more >= 1n << 64n) {
      throw new KvError('other', `${delta} is not between 0 and 2^64 - 1`);
    }
    return asked(() => atomics.increment(this.#bucket, key, more));
  }

  getMany(keys) {
    return asked(() => batch.getMany(this.#bucket, keys)).map((pair) => pair?.[1]);
  }

  setMany(entries) {
    asked(() => batch.setMany(this.#bucket, entries.map(([key, value]) => [key, bytes(value)])));
  }

  deleteMany(keys) {
    asked(() => batch.deleteMany(this.#bucket, keys));
  }
}
