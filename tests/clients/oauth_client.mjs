// The official TypeScript client, told nothing but the host's URL and its credentials at the issuer: where that is, it
// learns from the host's refusal (RFC 9728).
import { Client, ClientCredentialsProvider, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const [url, clientId, clientSecret] = process.argv.slice(2);
const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
const authProvider = new ClientCredentialsProvider({ clientId, clientSecret, scope: 'tools:call' });
await client.connect(new StreamableHTTPClientTransport(new URL(url), { authProvider }));
const { tools } = await client.listTools();
const counted = await client.callTool({ name: 'mcp__count', arguments: { text: 'four' } });
console.log(JSON.stringify({ tools: tools.map((tool) => tool.name), counted: counted.content }));
await client.close();
