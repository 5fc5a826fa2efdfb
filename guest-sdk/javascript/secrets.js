// The value of a secret, for an API that needs it in the tool.
//
// Prefer a grant that injects a secret into requests: then the tool never has it. What is read here can't be taken back:
// never put it into a result, an error or a log line.

import * as host from 'portcullis:tool/secrets@0.1.0';

import { HostError } from './error.js';

/** Why there is no value: `not-permitted` or `unavailable`. */
export class SecretError extends HostError {
  constructor(kind) {
    super(kind, kind === 'unavailable' ? "the host can't read the secret now" : 'no grant lets this tool see the secret');
  }
}

/** A secret's value. It is in no text that is made of this object. */
export class Secret {
  #value;

  constructor(value) {
    this.#value = value;
  }

  bytes() {
    return this.#value;
  }

  /** The text, if it is one. */
  text() {
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(this.#value);
    } catch {
      return undefined;
    }
  }
}

/** The value of a secret that a grant lets this tool see. */
export function get(name) {
  try {
    return new Secret(host.get(name));
  } catch (error) {
    throw error?.payload === undefined ? error : new SecretError(error.payload);
  }
}
