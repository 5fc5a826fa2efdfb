// What a result is made of.

/** Text for the agent to read. A tool may return a string as well. */
export class Text {
  constructor(text) {
    this.text = text;
  }
}

/** An image: its media type, which the host cuts at 100 bytes, and the file's bytes, not encoded. */
export class Image {
  constructor(mimeType, data) {
    this.mimeType = mimeType;
    this.data = data;
  }

  static png(data) {
    return new Image('image/png', data);
  }

  /** An SVG document. Not every model can look at one. */
  static svg(document) {
    return new Image('image/svg+xml', new TextEncoder().encode(document));
  }
}

/** A sound: its media type, which the host cuts at 100 bytes, and the file's bytes, not encoded. */
export class Audio {
  constructor(mimeType, data) {
    this.mimeType = mimeType;
    this.data = data;
  }
}

/** A document with a name of its own, which travels inside the result. The host never fetches the URI. */
export class Resource {
  constructor(uri, body, mimeType) {
    this.uri = uri;
    this.body = body;
    this.mimeType = mimeType;
  }
}

/** A structured result. A result holds at most one; the host also gives it as text. */
export class Json {
  constructor(value) {
    this.value = value;
  }
}

/** A structured result. */
export function json(value) {
  return new Json(value);
}

/** A JSON value as it is in a result. */
export class Structured {
  constructor(value) {
    this.value = value;
  }
}
