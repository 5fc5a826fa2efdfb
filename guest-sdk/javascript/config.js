// What an admin set up for the tool (`[grant.config]`).

import * as store from 'wasi:config/store@0.2.0-rc.1';

import { HostError } from './error.js';

/** Why there is no configuration: `unavailable`, or `invalid` for a value that does not parse. */
export class ConfigError extends HostError {}

function asked(task) {
  try {
    return task();
  } catch (error) {
    const payload = error?.payload;
    if (payload === undefined) {
      throw error;
    }
    throw new ConfigError('unavailable', `there is no configuration: ${payload.val}`);
  }
}

/** The value of a key; `undefined` if other keys are granted and this one is not. */
export function get(key) {
  return asked(() => store.get(key)) ?? undefined;
}

/** The value of a key as what a function makes of its text. A number that is none does not parse. */
export function parse(key, read) {
  const value = get(key);
  if (value === undefined) {
    return undefined;
  }
  const invalid = (reason) => new ConfigError('invalid', `the configuration of ${JSON.stringify(key)} is wrong: ${reason}`);
  let parsed;
  try {
    parsed = read(value);
  } catch (error) {
    throw invalid(error.message);
  }
  if (Number.isNaN(parsed)) {
    throw invalid(`${JSON.stringify(value)} is no number`);
  }
  return parsed;
}

/** All keys with their values. */
export function all() {
  return asked(() => store.getAll());
}
