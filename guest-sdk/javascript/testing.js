// Calls a tool through JSON on the author's machine, by node and without wasm: `node --import ./sdk/testing/register.js
// --test`.
//
// The way is that of a call in the sandbox: the schema is asked first, then the function is called. What comes out is
// what the agent would get; only the wording differs where the schema refuses. Not here are limits and powers. What the
// helpers ask of the host, `furnish` gives; `furnish.renew()` between tests takes it back.

import { Structured } from './content.js';
import { ToolError } from './error.js';
import { check } from './testing/check.js';
import { parse } from './tool.js';

export * as furnish from './testing/furnish.js';

/** Calls a tool. Throws ToolError as in the sandbox: arguments that don't fit, or the tool's own error. */
export async function call(tool, given) {
  return callText(tool, JSON.stringify(given));
}

/** Calls a tool with arguments as JSON text, which may be no JSON at all. */
export async function callText(tool, argumentsText) {
  const { name, inputSchema, outputSchema } = tool.definition;
  const fault = check(inputSchema, parse(argumentsText));
  if (fault !== undefined) {
    throw ToolError.invalidArguments(fault);
  }
  const content = await tool.callText(argumentsText);
  const structured = content.find((part) => part instanceof Structured);
  if (outputSchema !== undefined) {
    const wrong = structured === undefined ? 'there is none' : check(outputSchema, structured.value);
    if (wrong !== undefined) {
      throw new Error(`${name}: the structured result does not match its schema: ${wrong}`);
    }
  }
  return content;
}
