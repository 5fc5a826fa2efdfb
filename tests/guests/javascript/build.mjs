// Makes the component: node build.mjs MODULES SOURCE WIT OUTPUT WORLD
//
// MODULES is the `node_modules` of the folder in which npm installed package-lock.json. The library
// is called, not its command line: that one fails on relative paths.

import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, source, wit, output] = process.argv.slice(2, 6).map((path) => resolve(path));
const library = join(modules, '@bytecodealliance/componentize-js/src/componentize.js');
const { componentize } = await import(pathToFileURL(library).href);

const { component } = await componentize({
  sourcePath: source,
  witPath: wit,
  worldName: process.argv[6],
  // It answers no requests from outside: that would be an export that no tool has.
  disableFeatures: ['fetch-event'],
});
await writeFile(output, component);
