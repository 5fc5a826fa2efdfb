// Calls of other tools of the same host (`[[grant.invoke]]`).
//
// The tool that is called has its own grants for the same agent. Its fuel and its time come out of those of the call that
// makes it.

import * as host from 'portcullis:tool/invoke@0.1.0';

import { HostError } from './error.js';
import { text } from './values.js';

const TEXTS = {
  denied: 'the tool may not be called',
  'not-found': 'there is no such tool',
  'invalid-arguments': "the arguments don't fit",
  refused: 'the call was refused',
  'limit-reached': 'a limit ended the call',
  failed: 'the tool failed',
  answer: 'the tool answered something else',
};

/** Why there is no answer. Its kinds are those of the interface, and `answer` for one that was not expected. */
export class InvokeError extends HostError {
  constructor(kind, reason) {
    super(kind, `${TEXTS[kind]}: ${reason}`);
    this.reason = reason;
  }
}

/** What a tool answered: its parts, and the result as one value if the tool gives one. */
export class Answer {
  constructor(content, structured) {
    this.content = content;
    this.structured = structured;
  }

  /** All of its text, one part a line. */
  text() {
    const texts = this.content.map((part) => part?.text).filter((text) => typeof text === 'string');
    return texts.join('\n');
  }
}

/** Calls a tool and waits for its answer. */
export function call(packageName, tool, given) {
  let answer;
  let argumentsText;
  try {
    argumentsText = text(given);
  } catch (error) {
    throw new InvokeError('invalid-arguments', error.message);
  }
  try {
    answer = host.call(packageName, tool, argumentsText);
  } catch (error) {
    throw error?.payload === undefined ? error : new InvokeError(error.payload.tag, error.payload.val);
  }
  let content;
  let structured;
  try {
    content = JSON.parse(answer.content);
    structured = answer.structured === undefined ? undefined : JSON.parse(answer.structured);
  } catch (error) {
    throw new InvokeError('answer', error.message);
  }
  if (!Array.isArray(content)) {
    throw new InvokeError('answer', 'its content is no list');
  }
  return new Answer(content, structured);
}
