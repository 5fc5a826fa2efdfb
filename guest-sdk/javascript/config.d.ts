import { HostError } from './error.js';

/** Why there is no configuration, or a value that does not parse. */
export class ConfigError extends HostError<'unavailable' | 'invalid'> {}

/** The value of a key; `undefined` if other keys are granted and this one is not. */
export function get(key: string): string | undefined;
/** The value of a key as what a function makes of its text, such as `Number`. */
export function parse<T>(key: string, read: (text: string) => T): T | undefined;
/** All keys with their values. */
export function all(): [string, string][];
