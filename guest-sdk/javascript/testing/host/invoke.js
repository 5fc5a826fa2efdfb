import { refuse, world } from '../world.js';

export function call(packageName, tool, argumentsText) {
  if (world.tools === undefined) {
    throw refuse({ tag: 'denied', val: 'no grant of this call names the tool' });
  }
  let answer;
  try {
    answer = world.tools(packageName, tool, JSON.parse(argumentsText));
  } catch (error) {
    throw error?.kind === undefined ? error : refuse({ tag: error.kind, val: error.reason });
  }
  const { content = [], structured } = answer;
  return { content: JSON.stringify(content), structured: structured && JSON.stringify(structured) };
}
