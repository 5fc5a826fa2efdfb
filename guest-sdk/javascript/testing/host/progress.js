import { world } from '../world.js';

export function report({ done, total, message }) {
  world.steps.push([done, total, message]);
}

export function isCancelled() {
  return world.isCancelled;
}
