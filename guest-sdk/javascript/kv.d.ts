import { HostError } from './error.js';

/** Why a store did not do what was asked. */
export class KvError extends HostError<'no-such-store' | 'access-denied' | 'other' | 'json'> {}

/** Opens a store by the name that grants give it. KvError without a grant. */
export function open(name: string): Store;

/** An open store. Each of its functions may throw KvError. */
export interface Store {
  /** The value of a key, if it has one. */
  get(key: string): Uint8Array | undefined;
  /** The value of a key, read from JSON. */
  getJson(key: string): unknown;
  /** Gives a key a value. Keys are texts of 1 to 1,024 bytes. */
  set(key: string, value: Uint8Array | string): void;
  /** Gives a key a value, written as JSON. */
  setJson(key: string, value: unknown): void;
  /** Deletes a key, if it is there. */
  delete(key: string): void;
  exists(key: string): boolean;
  /** All keys, in the order in which they were first set. The grant's `keys_max` bounds them. */
  keys(): string[];
  /** Adds to the number under a key (0 if it is not there) and gives the sum. */
  increment(key: string, delta: bigint | number): bigint;
  /** The values of up to 1,000 keys, all of one moment. */
  getMany(keys: string[]): (Uint8Array | undefined)[];
  /** Gives up to 1,000 keys their values: all of them, or none if there is an error. */
  setMany(entries: [string, Uint8Array | string][]): void;
  /** Deletes up to 1,000 keys: all of them, or none if there is an error. */
  deleteMany(keys: string[]): void;
}
