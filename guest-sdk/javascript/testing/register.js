// For `node --import ./sdk/testing/register.js --test`: the interfaces of the host are those of testing/host.

import * as module from 'node:module';

const HOST = {
  'portcullis:tool/invoke@0.1.0': 'invoke',
  'portcullis:tool/progress@0.1.0': 'progress',
  'portcullis:tool/secrets@0.1.0': 'secrets',
  'wasi:config/store@0.2.0-rc.1': 'config',
  'wasi:http/outgoing-handler@0.2.12': 'http',
  'wasi:http/types@0.2.12': 'http',
  'wasi:keyvalue/atomics@0.2.0-draft': 'keyvalue',
  'wasi:keyvalue/batch@0.2.0-draft': 'keyvalue',
  'wasi:keyvalue/store@0.2.0-draft': 'keyvalue',
  'wasi:logging/logging@0.1.0-draft': 'logging',
};

/** Where a module is; the hook of node. */
export function resolve(specifier, context, next) {
  const name = HOST[specifier];
  const url = name && new URL(`./host/${name}.js`, import.meta.url).href;
  return url ? { url, shortCircuit: true } : next(specifier, context);
}

// Node 22.15 has the first; before, hooks live in a thread of their own, which reads this file again.
const { isMainThread } = await import('node:worker_threads');
if (module.registerHooks) {
  module.registerHooks({ resolve });
} else if (isMainThread) {
  module.register(import.meta.url);
}
