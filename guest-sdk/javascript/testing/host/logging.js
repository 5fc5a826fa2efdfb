import { world } from '../world.js';

export function log(level, context, message) {
  world.lines.push([level, context, message]);
}
