// What tests furnish, and what the tool did.

export const world = {};

/** Another host, which grants nothing. */
export function renew() {
  Object.assign(world, {
    stores: new Map(),
    config: [],
    secrets: new Map(),
    tools: undefined,
    server: undefined,
    lines: [],
    steps: [],
    isCancelled: false,
  });
}

renew();

/** As the bindings throw the error of a `result`. */
export function refuse(payload) {
  return Object.assign(new Error(JSON.stringify(payload)), { payload });
}
