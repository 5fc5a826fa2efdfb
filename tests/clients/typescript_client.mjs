// Talks to the host with the official TypeScript client, and says what came of it, as JSON.
//
// Usage: typescript_client.mjs (modern | sdk) (http URL | stdio PROGRAM ARGUMENT...)
// `modern` is @modelcontextprotocol/client, `sdk` the older @modelcontextprotocol/sdk, which knows 2025-11-25 only.
// The key of http comes from PORTCULLIS_KEY.

const [which, way, ...rest] = process.argv.slice(2);

// shown: modern
async function modern(way, rest) {
  const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client');
  const { StdioClientTransport } = await import('@modelcontextprotocol/client/stdio');
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  const headers = { Authorization: `Bearer ${process.env.PORTCULLIS_KEY}` };
  const transport =
    way === 'http'
      ? new StreamableHTTPClientTransport(new URL(rest[0]), { requestInit: { headers } })
      : new StdioClientTransport({ command: rest[0], args: rest.slice(1) });
  await client.connect(transport);
  return client;
}
// shown: end

async function sdk(way, rest) {
  const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
  const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
  const { StdioClientTransport } = await import('@modelcontextprotocol/sdk/client/stdio.js');
  const client = new Client({ name: 'test', version: '1' });
  const headers = { Authorization: `Bearer ${process.env.PORTCULLIS_KEY}` };
  const transport =
    way === 'http'
      ? new StreamableHTTPClientTransport(new URL(rest[0]), { requestInit: { headers } })
      : new StdioClientTransport({ command: rest[0], args: rest.slice(1) });
  await client.connect(transport);
  return client;
}

const modernly = which === 'modern';
const client = modernly ? await modern(way, rest) : await sdk(way, rest);
const call = (name, args, options) =>
  modernly
    ? client.callTool({ name, arguments: args }, options)
    : client.callTool({ name, arguments: args }, undefined, options);

const seen = { progress: [] };
// shown: use
const { tools } = await client.listTools();
const counted = await client.callTool({ name: 'mcp__count', arguments: { text: 'four' } });
// shown: end
seen.protocol = modernly ? client.getNegotiatedProtocolVersion() : client.transport.protocolVersion ?? null;
seen.tools = tools.map((tool) => tool.name);
seen.counted = counted.structuredContent;

const onprogress = (step) => seen.progress.push([step.progress, step.total]);
const done = await call('mcp__test_tool_with_progress', {}, { onprogress });
seen.done = done.content[0].text;
const failed = await call('mcp__test_error_handling', {});
seen.failed = [failed.isError, failed.content[0].text];
try {
  await call('mcp__loud', {});
} catch (error) {
  seen.denied = error.message;
}

// Taken back once it is known to run.
const wish = new AbortController();
let waiting;
await new Promise((resolve, reject) => {
  waiting = call('mcp__wait', {}, { signal: wish.signal, onprogress: resolve });
  waiting.catch(reject);
});
wish.abort();
const [end] = await Promise.allSettled([waiting]);
seen.cancelled = end.status === 'rejected';
await client.close();
console.log(JSON.stringify(seen));
