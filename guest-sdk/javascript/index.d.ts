export { Audio, Image, Json, Resource, Structured, Text, json } from './content.js';
export type { Content, Output } from './content.js';
export { HostError, ToolError } from './error.js';
export type { ErrorKind } from './error.js';
export * as schema from './schema.js';
export { tool, tools } from './tool.js';
export type { Definition, Tool } from './tool.js';
