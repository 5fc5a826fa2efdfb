// What a tool is, and the tools of a component together.

import { Audio, Image, Json, Resource, Structured, Text } from './content.js';
import { ToolError, ofThrown } from './error.js';
import { text } from './values.js';

// What the host takes.
const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/** Declares a tool. What is wrong with it is told when the module is read, which is when it is built. */
export function tool({ name, description, input = { type: 'object', properties: {}, additionalProperties: false }, output, run }) {
  if (!NAME.test(name)) {
    throw new TypeError(
      `the host refuses a tool named ${JSON.stringify(name)}: use 1 to 64 of A-Z, a-z, 0-9, '_' and '-', beginning with a letter or digit`,
    );
  }
  if (typeof description !== 'string' || description.trim() === '') {
    throw new TypeError(`${name} needs a description: it is what agents read of the tool`);
  }
  if (input.type !== 'object') {
    throw new TypeError(`${name}: the schema of its input must be that of an object`);
  }
  if (typeof run !== 'function') {
    throw new TypeError(`${name} needs a function \`run\``);
  }
  const definition = { name, description, inputSchema: input, outputSchema: output };
  return Object.freeze({
    definition,
    run,
    /** Calls it with arguments from a JSON object, as an agent does. Throws ToolError. */
    async callText(argumentsText) {
      const given = parse(argumentsText);
      try {
        return answer(await run(given));
      } catch (error) {
        throw ofThrown(error) ?? error;
      }
    },
  });
}

/** Parses the arguments of a call. The host has refused keys that stand twice, and what does not fit the schema. */
export function parse(argumentsText) {
  let value;
  try {
    value = JSON.parse(argumentsText);
  } catch (error) {
    throw ToolError.invalidArguments(`$: the arguments are not JSON: ${error.message}`);
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw ToolError.invalidArguments('$: the arguments must be a JSON object');
  }
  return value;
}

function answer(output) {
  const content = [];
  append(output, content);
  const structured = content.filter((part) => part instanceof Structured).length;
  if (structured > 1) {
    throw ToolError.failed(`the tool gave ${structured} structured values, and a result holds one`);
  }
  return content;
}

function append(output, content) {
  if (output === undefined || output === null) {
    return;
  }
  if (typeof output === 'string') {
    content.push(new Text(output));
  } else if (output instanceof Json || output instanceof Structured) {
    content.push(new Structured(written(output.value)));
  } else if ([Text, Image, Audio, Resource].some((kind) => output instanceof kind)) {
    content.push(output);
  } else if (Array.isArray(output)) {
    output.forEach((part) => append(part, content));
  } else {
    throw new TypeError(
      `${typeof output} can't be the result of a tool: return text, Image, Audio, Resource, json(value), nothing, or arrays of these`,
    );
  }
}

/** The value as it will be read from its JSON. */
function written(value) {
  try {
    return JSON.parse(text(value));
  } catch (error) {
    throw ToolError.failed(`the structured result can't be written as JSON: ${error.message}`);
  }
}

/** What the world `portcullis:tool/tool` exports as `tools`. Once in the module that is the component. */
export function tools(...offered) {
  const byName = new Map();
  for (const one of offered) {
    const name = one?.definition?.name;
    if (name === undefined) {
      throw new TypeError('what is offered is made with tool({ … })');
    }
    if (byName.has(name)) {
      throw new TypeError(`two tools of this component are named ${name}`);
    }
    byName.set(name, one);
  }
  return {
    listTools: () =>
      offered.map(({ definition: { name, description, inputSchema, outputSchema } }) => ({
        name,
        description,
        inputSchema: JSON.stringify(inputSchema),
        outputSchema: outputSchema && JSON.stringify(outputSchema),
      })),

    async callTool(name, argumentsText) {
      try {
        const one = byName.get(name);
        if (one === undefined) {
          throw ToolError.invalidArguments(`there is no tool ${name}`);
        }
        return (await one.callText(argumentsText)).map(part);
      } catch (error) {
        if (error instanceof ToolError) {
          // What a function of WIT with a `result` throws is its error.
          throw { kind: error.kind, message: error.message };
        }
        console.error(error instanceof Error ? `${error}\n${error.stack ?? ''}` : error);
        throw error instanceof Error ? error : new Error(String(error));
      }
    },
  };
}

function part(content) {
  if (content instanceof Text) {
    return { tag: 'text', val: content.text };
  }
  if (content instanceof Structured) {
    return { tag: 'structured', val: text(content.value) };
  }
  if (content instanceof Resource) {
    const { uri, mimeType, body } = content;
    const held = typeof body === 'string' ? { tag: 'text', val: body } : { tag: 'blob', val: body };
    return { tag: 'resource', val: { uri, mimeType, body: held } };
  }
  const { data, mimeType } = content;
  return { tag: content instanceof Image ? 'image' : 'audio', val: { data, mimeType } };
}
