// `wasi:http`, as far as http.js uses it.

import { refuse, world } from '../world.js';

export class Fields {
  static fromList(list) {
    return Object.assign(new Fields(), { list });
  }

  entries() {
    return this.list;
  }
}

export class OutgoingBody {
  chunks = [];

  write() {
    return { blockingWriteAndFlush: (chunk) => this.chunks.push(...chunk) };
  }

  static finish(body) {
    body.isWhole = true;
  }
}

export class OutgoingRequest {
  constructor(headers) {
    this.headers = headers;
    this.sent = new OutgoingBody();
  }

  body() {
    return this.sent;
  }

  setMethod({ val }) {
    this.method = val;
  }

  setScheme({ tag }) {
    this.scheme = tag.toLowerCase();
  }

  setAuthority(authority) {
    this.authority = authority;
  }

  setPathWithQuery(path) {
    this.path = path;
  }
}

function answered(outgoing) {
  const decode = (bytes) => new TextDecoder().decode(bytes);
  const { method, scheme, authority, path } = outgoing;
  const headers = outgoing.headers.entries().map(([name, value]) => [name, decode(value)]);
  const request = { method, scheme, authority, path, headers, body: new Uint8Array(outgoing.sent.chunks) };
  try {
    return { tag: 'ok', val: new Incoming(world.server(request)) };
  } catch (error) {
    return { tag: 'err', val: { tag: 'internal-error', val: error.message } };
  }
}

class Incoming {
  constructor({ status = 200, headers = [], body = new Uint8Array() }) {
    const encode = (text) => (typeof text === 'string' ? new TextEncoder().encode(text) : text);
    this.code = status;
    this.fields = Fields.fromList(headers.map(([name, value]) => [name, encode(value)]));
    this.left = [encode(body)];
  }

  status() {
    return this.code;
  }

  headers() {
    return this.fields;
  }

  consume() {
    const blockingRead = () => {
      if (this.left.length === 0) {
        throw refuse({ tag: 'closed' });
      }
      return this.left.pop();
    };
    return { stream: () => ({ blockingRead }) };
  }
}

export function handle(outgoing) {
  if (world.server === undefined) {
    throw refuse({ tag: 'HTTP-request-denied' });
  }
  return {
    subscribe: () => ({ block() {} }),
    get: () => ({ tag: 'ok', val: answered(outgoing) }),
  };
}
