import { HostError } from './error.js';

/** Why there is no value. */
export class SecretError extends HostError<'not-permitted' | 'unavailable'> {}

/** A secret's value. It is in no text that is made of this object. */
export interface Secret {
  bytes(): Uint8Array;
  /** The text, if it is one. */
  text(): string | undefined;
}

/** The value of a secret that a grant lets this tool see. */
export function get(name: string): Secret;
