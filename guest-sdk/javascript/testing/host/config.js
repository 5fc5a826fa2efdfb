import { refuse, world } from '../world.js';

export function getAll() {
  if (world.config.length === 0) {
    throw refuse({ tag: 'upstream', val: 'not permitted: no configuration is granted' });
  }
  return world.config.map((pair) => [...pair]);
}

export function get(key) {
  return getAll().find(([name]) => name === key)?.[1];
}
