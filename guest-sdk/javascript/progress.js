// How far a call is, for whoever waits for it, and whether they still do. Needs no grant.

import * as host from 'portcullis:tool/progress@0.1.0';

/** Tells the caller what is done so far, of how much if that is known, and what it is about. */
export function report(done, total, message) {
  host.report({ done, total, message });
}

/** Whether the caller asked for the call to end: then answer with what there is, soon. */
export function isCancelled() {
  return host.isCancelled();
}
