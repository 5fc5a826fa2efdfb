import type { Content } from './content.js';
import type { Level } from './log.js';
import type { Tool } from './tool.js';

/** Calls a tool. Throws ToolError as in the sandbox: arguments that don't fit, or the tool's own error. */
export function call<A>(tool: Tool<A>, given: object): Promise<Content[]>;
/** Calls a tool with arguments as JSON text, which may be no JSON at all. */
export function callText<A>(tool: Tool<A>, argumentsText: string): Promise<Content[]>;

/** A request that a tool under test sent. */
export interface Request {
  readonly method: string;
  readonly scheme: string;
  readonly authority: string;
  readonly path: string;
  readonly headers: [string, string][];
  readonly body: Uint8Array;
}

/** What the host would give. */
export namespace furnish {
  /** Another host, which grants nothing. */
  function renew(): void;
  /** Grants an empty store. */
  function store(name: string): void;
  /** Grants a value of the configuration. */
  function config(key: string, value: string): void;
  /** Grants a secret to be seen. */
  function secret(name: string, value: Uint8Array | string): void;
  /** Grants other tools: the function answers their calls, or throws InvokeError. */
  function tools(
    answer: (packageName: string, tool: string, given: any) => { content?: object[]; structured?: unknown },
  ): void;
  /** Grants requests: the function answers them. */
  function server(
    answer: (request: Request) => { status?: number; headers?: [string, string][]; body?: Uint8Array | string },
  ): void;
  /** Has the caller ask for the end of the call. */
  function cancel(): void;
  /** The lines that were logged so far: level, context, message. */
  function lines(): [Level, string, string][];
  /** The progress that was told so far: done, total, message. */
  function steps(): [number, number | undefined, string][];
}
