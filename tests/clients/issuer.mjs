// An OpenID Connect issuer that nobody here wrote: `oidc-provider`, with keys that it makes at its start. It prints its
// URL, and gives one client tokens for whatever resource is asked for (RFC 8707), by its credentials.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const jwk = (pair, more) => ({ ...pair.privateKey.export({ format: 'jwk' }), use: 'sig', ...more });
const keys = [
  jwk(generateKeyPairSync('rsa', { modulusLength: 2048 }), { kid: 'rsa', alg: 'RS256' }),
  jwk(generateKeyPairSync('ec', { namedCurve: 'P-256' }), { kid: 'ec', alg: 'ES256' }),
];
const server = createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const url = `http://127.0.0.1:${server.address().port}`;
const [algorithm, clientId, clientSecret] = process.argv.slice(2);
const provider = new Provider(url, {
  clients: [
    {
      client_id: clientId,
      client_secret: clientSecret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    },
  ],
  jwks: { keys },
  scopes: ['tools:call'],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({
        scope: 'tools:call',
        audience: resource,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 300,
        jwt: { sign: { alg: algorithm } },
      }),
    },
  },
});
server.on('request', provider.callback());
console.log(url);
