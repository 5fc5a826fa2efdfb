// Why a tool gave no result.

/** Why a tool gave no result, and whose fault that is. The host keeps the first 1,000 bytes of the message. */
export class ToolError extends Error {
  constructor(kind, message) {
    super(message);
    this.name = 'ToolError';
    this.kind = kind;
  }

  static invalidArguments(message) {
    return new ToolError('invalid-arguments', message);
  }

  static failed(message) {
    return new ToolError('failed', message);
  }
}

/** An error of what the host gives. A tool that does not catch it fails with its text. */
export class HostError extends Error {
  constructor(kind, message) {
    super(message);
    this.name = new.target.name;
    this.kind = kind;
  }
}

/**
 * What an error of a tool's function says to the agent. A mistake in the tool is left to end the call, as a panic does
 * in Rust: the call is reported as crashed, and the error stands on its stderr.
 */
export function ofThrown(error) {
  if (error instanceof ToolError) {
    return error;
  }
  const isMistake = [TypeError, ReferenceError, RangeError].some((kind) => error instanceof kind);
  return error instanceof Error && !isMistake ? ToolError.failed(error.message) : undefined;
}
