import type { Content, Output } from './content.js';
import type { Schema } from './schema.js';

/** A tool as the host will see it. */
export interface Definition {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: Schema<any>;
  readonly outputSchema?: Schema<any>;
}

export interface Tool<Arguments> {
  readonly definition: Definition;
  /** The function itself. */
  readonly run: (given: Arguments) => Output | Promise<Output>;
  /** Calls it with arguments from a JSON object, as an agent does. Throws ToolError. */
  callText(argumentsText: string): Promise<Content[]>;
}

/** Declares a tool. What is wrong with it is told when the module is read, which is when it is built. */
export function tool<Arguments = Record<string, never>>(declared: {
  /** 1 to 64 of A-Z, a-z, 0-9, '_' and '-'. */
  name: string;
  /** What agents read of the tool. */
  description: string;
  /** Of an object; without one it takes nothing. */
  input?: Schema<Arguments>;
  /** Of the structured result, if there always is one. */
  output?: Schema<any>;
  run(given: Arguments): Output | Promise<Output>;
}): Tool<Arguments>;

/** What the world `portcullis:tool/tool` exports as `tools`. Once in the module that is the component. */
export function tools(...offered: Tool<any>[]): object;

export function parse(argumentsText: string): Record<string, unknown>;
