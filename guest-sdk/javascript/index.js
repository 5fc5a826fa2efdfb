// Write a tool for Portcullis as a plain JavaScript function.
//
//   import { schema, tool, tools } from './sdk/index.js';
//
//   const reverse = tool({
//     name: 'reverse',
//     description: 'Turns a text around.',
//     input: schema.object({ text: schema.string('The text.') }),
//     run: ({ text }) => [...text].reverse().join(''),
//   });
//
//   const offered = tools(reverse);
//   export { offered as tools };
//
// config.js, http.js, invoke.js, kv.js, log.js, progress.js and secrets.js are what the host may give. Each needs its line
// in wit/world.wit (`include portcullis:sdk/kv@0.1.0;`), and all but log and progress a grant.

export { Audio, Image, Json, Resource, Structured, Text, json } from './content.js';
export { HostError, ToolError } from './error.js';
export * as schema from './schema.js';
export { tool, tools } from './tool.js';
