// Lines for whoever may see how a call went. They are captured up to a bound, and reach no log of the host.

import { log } from 'wasi:logging/logging@0.1.0-draft';

/** Writes a line of a level. `context` is a word for where it comes from, and may be empty. */
export function write(level, context, message) {
  log(level, context, String(message));
}

export const trace = (message) => write('trace', '', message);
export const debug = (message) => write('debug', '', message);
export const info = (message) => write('info', '', message);
export const warn = (message) => write('warn', '', message);
export const error = (message) => write('error', '', message);
export const critical = (message) => write('critical', '', message);
