// Given to node by `portcullis build`: MODULES SOURCE WIT WORLD DISABLED OUTPUT. The library is called, not its
// command line: that one fails on relative paths.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, source, wit, world, disabled, output] = process.argv.slice(2);
const library = join(modules, '@bytecodealliance/componentize-js/src/componentize.js');
const { componentize } = await import(pathToFileURL(library).href);

const { component } = await componentize({
  sourcePath: source,
  witPath: wit,
  worldName: world,
  disableFeatures: disabled.split(','),
});
await writeFile(output, component);
