import { HostError } from './error.js';

/** The most bytes of an answer's body, unless a request says otherwise. */
export const ANSWER_BYTES_MAX: number;

/** Why there is no answer, or not one that was expected. */
export class HttpError extends HostError<'request' | 'denied' | 'failed' | 'too-long' | 'status' | 'body'> {
  readonly status?: number;
}

export function get(url: string): RequestBuilder;
export function post(url: string): RequestBuilder;
export function put(url: string): RequestBuilder;
declare function del(url: string): RequestBuilder;
export { del as delete };
/** A request of any method. */
export function request(method: string, url: string): RequestBuilder;

/** A request that is being made up. Nothing happens before `send`. */
export interface RequestBuilder {
  header(name: string, value: string): this;
  /** Adds a query parameter, percent-encoded. */
  query(name: string, value: string): this;
  body(body: Uint8Array | string): this;
  /** Sets the body to a value as JSON, with the `content-type` of it. */
  json(value: unknown): this;
  /** Sets the most bytes that the answer's body may have, instead of ANSWER_BYTES_MAX. */
  answerBytesMax(bytesMax: number): this;
  /** Sends it and waits for the whole answer. One with any status is an answer: see `success`. */
  send(): Response;
}

/** An answer, whatever its status. Names of headers are in lower case. */
export interface Response {
  readonly status: number;
  readonly headers: [string, string][];
  readonly body: Uint8Array;
  /** Itself, if its status is one of success (200 to 299). */
  success(): this;
  /** The first value of a header; its name in any case. */
  header(name: string): string | undefined;
  /** The body, read from JSON. */
  json(): any;
  /** The body as text in UTF-8. */
  text(): string;
}
