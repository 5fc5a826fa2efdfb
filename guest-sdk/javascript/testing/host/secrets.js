import { refuse, world } from '../world.js';

export function get(name) {
  const value = world.secrets.get(name);
  if (value === undefined) {
    throw refuse('not-permitted');
  }
  return value;
}
