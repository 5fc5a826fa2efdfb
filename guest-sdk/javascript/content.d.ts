/** Text for the agent to read. A tool may return a string as well. */
export class Text {
  constructor(text: string);
  readonly text: string;
}

/** An image: its media type, which the host cuts at 100 bytes, and the file's bytes, not encoded. */
export class Image {
  constructor(mimeType: string, data: Uint8Array);
  readonly mimeType: string;
  readonly data: Uint8Array;
  static png(data: Uint8Array): Image;
  /** An SVG document. Not every model can look at one. */
  static svg(document: string): Image;
}

/** A sound: its media type, which the host cuts at 100 bytes, and the file's bytes, not encoded. */
export class Audio {
  constructor(mimeType: string, data: Uint8Array);
  readonly mimeType: string;
  readonly data: Uint8Array;
}

/** A document with a name of its own, which travels inside the result. The host never fetches the URI. */
export class Resource {
  constructor(uri: string, body: string | Uint8Array, mimeType?: string);
  readonly uri: string;
  readonly body: string | Uint8Array;
  readonly mimeType?: string;
}

/** A structured result. A result holds at most one; the host also gives it as text. */
export class Json<T> {
  constructor(value: T);
  readonly value: T;
}

/** A structured result. A bigint is written as a number if that is exact, and is an error otherwise. */
export function json<T>(value: T): Json<T>;

/** A JSON value as it is in a result. */
export class Structured {
  constructor(value: unknown);
  readonly value: unknown;
}

/** One part of a result. */
export type Content = Text | Image | Audio | Resource | Structured;

/** What a tool's function may return. */
export type Output = string | Content | Json<unknown> | null | undefined | void | Output[];
