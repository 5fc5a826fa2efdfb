import { HostError } from './error.js';

/** Why there is no answer. */
export class InvokeError extends HostError<
  'denied' | 'not-found' | 'invalid-arguments' | 'refused' | 'limit-reached' | 'failed' | 'answer'
> {
  constructor(
    kind: 'denied' | 'not-found' | 'invalid-arguments' | 'refused' | 'limit-reached' | 'failed' | 'answer',
    reason: string,
  );
  readonly reason: string;
}

/** What a tool answered. */
export interface Answer {
  /** Its parts: objects with a `type`, as the HTTP API gives them. */
  readonly content: Record<string, unknown>[];
  /** The result as one value, if the tool gives one. */
  readonly structured?: any;
  /** All of its text, one part a line. */
  text(): string;
}

/** Calls a tool and waits for its answer. */
export function call(packageName: string, tool: string, given: object): Answer;
