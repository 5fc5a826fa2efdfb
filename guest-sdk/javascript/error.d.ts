/** Whose fault it is that a tool gave no result. */
export type ErrorKind = 'invalid-arguments' | 'failed';

/** Why a tool gave no result, and whose fault that is. The host keeps the first 1,000 bytes of the message. */
export class ToolError extends Error {
  constructor(kind: ErrorKind, message: string);
  readonly kind: ErrorKind;
  /** The agent's arguments are wrong in a way that the schema can't say. */
  static invalidArguments(message: string): ToolError;
  /** The tool, or what it depends on, failed. */
  static failed(message: string): ToolError;
}

/** An error of what the host gives. A tool that does not catch it fails with its text. */
export class HostError<Kind extends string = string> extends Error {
  constructor(kind: Kind, message: string);
  readonly kind: Kind;
}

export function ofThrown(error: unknown): ToolError | undefined;
