// What the host would give. Without it, a helper of the SDK gets the error that a tool gets without a grant.

import { world } from './world.js';

export { renew } from './world.js';

/** Grants an empty store. */
export function store(name) {
  world.stores.set(name, new Map());
}

/** Grants a value of the configuration. */
export function config(key, value) {
  world.config.push([key, value]);
}

/** Grants a secret to be seen. */
export function secret(name, value) {
  world.secrets.set(name, typeof value === 'string' ? new TextEncoder().encode(value) : value);
}

/** Grants other tools: the function answers their calls, or throws InvokeError. */
export function tools(answer) {
  world.tools = answer;
}

/** Grants requests: the function answers them. */
export function server(answer) {
  world.server = answer;
}

/** Has the caller ask for the end of the call. */
export function cancel() {
  world.isCancelled = true;
}

/** The lines that were logged so far: level, context, message. */
export function lines() {
  return [...world.lines];
}

/** The progress that was told so far: done, total, message. */
export function steps() {
  return [...world.steps];
}
