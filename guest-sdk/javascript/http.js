// Requests over HTTP, as grants allow them (`[[grant.http]]`).
//
//   const release = http.get(url).header('accept', 'application/json').send().success().json();
//
// Redirects are not followed: the answer's `location` says where to, and a grant must allow that as well.

import { handle } from 'wasi:http/outgoing-handler@0.2.12';
import { Fields, OutgoingBody, OutgoingRequest } from 'wasi:http/types@0.2.12';

import { HostError } from './error.js';
import { text } from './values.js';

/** The most bytes of an answer's body, unless a request says otherwise. */
export const ANSWER_BYTES_MAX = 4 << 20;

// The most bytes that one write to a stream takes, and that one read asks for.
const WRITE_BYTES_MAX = 4096;
const READ_BYTES_MAX = 64n << 10n;

const DISPOSE = Symbol.dispose ?? Symbol.for('dispose');

/** Why there is no answer: `request`, `denied`, `failed`, `too-long`; or not one that was expected: `status`, `body`. */
export class HttpError extends HostError {
  constructor(kind, reason, status) {
    const texts = {
      request: `the request can't be sent: ${reason}`,
      denied: 'no grant allows this request',
      failed: `the request failed: ${reason}`,
      'too-long': `the answer has more than ${reason} bytes`,
      status: `the server answered with status ${status}`,
      body: `the answer is not what was expected: ${reason}`,
    };
    super(kind, texts[kind]);
    this.status = status;
  }
}

/** A request of any method. */
export function request(method, url) {
  return new RequestBuilder({ method, ...split(url), headers: [], body: new Uint8Array(), answerBytesMax: ANSWER_BYTES_MAX });
}

export const get = (url) => request('GET', url);
export const post = (url) => request('POST', url);
export const put = (url) => request('PUT', url);
const del = (url) => request('DELETE', url);
export { del as delete };

/** Divides a URL into scheme, authority, and path with query. What each may hold the host judges. */
function split(url) {
  const wrong = (reason) => new HttpError('request', `${JSON.stringify(url)} is not a URL: ${reason}`);
  const at = url.indexOf('://');
  if (at < 0) {
    throw wrong('it has no scheme');
  }
  const scheme = url.slice(0, at);
  if (scheme !== 'http' && scheme !== 'https') {
    throw wrong('its scheme is neither http nor https');
  }
  // What follows a '#' is for the reader of a page, and is never sent.
  const rest = url.slice(at + 3).split('#')[0];
  const end = rest.search(/[/?]/);
  const authority = end < 0 ? rest : rest.slice(0, end);
  const path = end < 0 ? '' : rest.slice(end);
  if (authority === '') {
    throw wrong('it names no host');
  }
  if (authority.includes('@')) {
    throw wrong('it has a user name or a password in it');
  }
  return { scheme, authority, path: path.startsWith('/') ? path : `/${path}` };
}

/** Percent-encoded (RFC 3986, 2.3): encodeURIComponent leaves five characters more. */
function encoded(text) {
  return encodeURIComponent(text).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** A request that is being made up. Nothing happens before `send`. */
export class RequestBuilder {
  #request;

  constructor(request) {
    this.#request = request;
  }

  header(name, value) {
    this.#request.headers.push([name, value]);
    return this;
  }

  /** Adds a query parameter, percent-encoded. */
  query(name, value) {
    const mark = this.#request.path.includes('?') ? '&' : '?';
    this.#request.path += `${mark}${encoded(name)}=${encoded(value)}`;
    return this;
  }

  body(body) {
    this.#request.body = typeof body === 'string' ? new TextEncoder().encode(body) : body;
    return this;
  }

  /** Sets the body to a value as JSON, with the `content-type` of it. */
  json(value) {
    let body;
    try {
      body = text(value);
    } catch (error) {
      throw new HttpError('request', error.message);
    }
    return this.header('content-type', 'application/json').body(body);
  }

  /** Sets the most bytes that the answer's body may have, instead of ANSWER_BYTES_MAX. */
  answerBytesMax(bytesMax) {
    this.#request.answerBytesMax = bytesMax;
    return this;
  }

  /** Sends it and waits for the whole answer. One with any status is an answer: see `success`. */
  send() {
    return send(this.#request);
  }
}

/** An answer, whatever its status. Names of headers are in lower case. */
export class Response {
  constructor(status, headers, body) {
    this.status = status;
    this.headers = headers;
    this.body = body;
  }

  /** Itself, if its status is one of success (200 to 299). */
  success() {
    if (this.status < 200 || this.status >= 300) {
      throw new HttpError('status', '', this.status);
    }
    return this;
  }

  /** The first value of a header; its name in any case. */
  header(name) {
    return this.headers.find(([other]) => other.toLowerCase() === name.toLowerCase())?.[1];
  }

  /** The body, read from JSON. */
  json() {
    const body = this.text();
    try {
      return JSON.parse(body);
    } catch (error) {
      throw new HttpError('body', error.message);
    }
  }

  /** The body as text in UTF-8. */
  text() {
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(this.body);
    } catch (error) {
      throw new HttpError('body', error.message);
    }
  }
}

/** A code of WASI, or what was thrown. */
function reasonOf(error) {
  const payload = error?.payload;
  if (payload === undefined) {
    return error?.message ?? String(error);
  }
  const told = typeof payload === 'string' ? payload : payload?.tag;
  const more = payload?.val?.toDebugString?.() ?? (typeof payload?.val === 'string' ? payload.val : undefined);
  return more === undefined ? String(told) : `${told}: ${more}`;
}

function refused(error) {
  return error?.payload?.tag === 'HTTP-request-denied' ? new HttpError('denied') : new HttpError('failed', reasonOf(error));
}

function asked(kind, task) {
  try {
    return task();
  } catch (error) {
    throw error instanceof HttpError ? error : new HttpError(kind, reasonOf(error));
  }
}

function send(request) {
  const outgoing = asked('request', () => made(request));
  const body = asked('request', () => outgoing.body());
  let future;
  try {
    future = handle(outgoing, undefined);
  } catch (error) {
    throw refused(error);
  }
  if (request.body.length > 0) {
    asked('failed', () => write(body, request.body));
  }
  try {
    OutgoingBody.finish(body, undefined);
  } catch (error) {
    throw refused(error);
  }
  const ready = future.subscribe();
  ready.block();
  ready[DISPOSE]?.();
  const answer = future.get();
  if (answer?.tag !== 'ok') {
    throw new HttpError('failed', 'the answer is not there');
  }
  if (answer.val.tag !== 'ok') {
    throw refused({ payload: answer.val.val });
  }
  const response = answer.val.val;
  return asked('failed', () => incoming(response, request.answerBytesMax));
}

function made(request) {
  const encode = (value) => new TextEncoder().encode(value);
  const headers = request.headers.map(([name, value]) => [name, encode(value)]);
  if (request.body.length > 0) {
    headers.push(['content-length', encode(String(request.body.length))]);
  }
  const outgoing = new OutgoingRequest(Fields.fromList(headers));
  outgoing.setMethod({ tag: 'other', val: request.method });
  outgoing.setScheme({ tag: request.scheme === 'https' ? 'HTTPS' : 'HTTP' });
  outgoing.setAuthority(request.authority);
  outgoing.setPathWithQuery(request.path);
  return outgoing;
}

function write(body, data) {
  const stream = body.write();
  for (let start = 0; start < data.length; start += WRITE_BYTES_MAX) {
    stream.blockingWriteAndFlush(data.subarray(start, start + WRITE_BYTES_MAX));
  }
  stream[DISPOSE]?.();
}

function incoming(response, bytesMax) {
  const decode = (value) => new TextDecoder().decode(value);
  const headers = response.headers().entries().map(([name, value]) => [name.toLowerCase(), decode(value)]);
  const body = response.consume();
  const stream = body.stream();
  const data = read(stream, bytesMax);
  stream[DISPOSE]?.();
  body[DISPOSE]?.();
  return new Response(response.status(), headers, data);
}

function read(stream, bytesMax) {
  const chunks = [];
  let length = 0;
  for (;;) {
    let chunk;
    try {
      chunk = stream.blockingRead(READ_BYTES_MAX);
    } catch (error) {
      if (error?.payload?.tag === 'closed') {
        break;
      }
      throw error;
    }
    length += chunk.length;
    if (length > bytesMax) {
      throw new HttpError('too-long', String(bytesMax));
    }
    chunks.push(chunk);
  }
  const data = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    data.set(chunk, at);
    at += chunk.length;
  }
  return data;
}
