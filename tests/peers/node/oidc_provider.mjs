// An authorization server made of node oidc-provider, as strict as a good real one: PKCE required,
// refresh tokens rotate, the reuse of a spent one ends the whole grant. One JSON argument:
// { port, control_port, data_dir, access_token_ttl, refresh_token_ttl, default_resource, clients }
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

import { Provider } from 'oidc-provider';

import { control } from './control.mjs';
import { Faults } from './faults.mjs';
import { Journal } from './journal.mjs';
import { recorder } from './record.mjs';

const RESOURCE_SERVER = { client_id: 'resource-server', client_secret: 'resource-server-secret' };

const options = JSON.parse(process.argv[2]);
const settings = {
  access_token_ttl: options.access_token_ttl ?? 3600,
  refresh_token_ttl: options.refresh_token_ttl ?? 14 * 24 * 3600,
  rotate: true,
};
const issuer = `http://127.0.0.1:${options.port}`;
const journal = new Journal(path.join(options.data_dir, 'state.jsonl'));
const faults = new Faults();

// A restart must not change the keys: signatures and cookies outlive the process.
function keys() {
  const file = path.join(options.data_dir, 'keys.json');
  if (!fs.existsSync(file)) {
    const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
    const signing = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' };
    const cookies = [crypto.randomBytes(24).toString('base64url')];
    fs.writeFileSync(file, JSON.stringify({ signing, cookies }));
  }
  return JSON.parse(fs.readFileSync(file, 'utf8'));
}

const { signing, cookies } = keys();
const SCOPES = ['mcp', 'mcp:read', 'mcp:write'];

const provider = new Provider(issuer, {
  adapter: journal.adapter(),
  clients: [
    {
      ...RESOURCE_SERVER,
      grant_types: [],
      redirect_uris: [],
      response_types: [],
    },
    ...(options.clients ?? []),
  ],
  cookies: { keys: cookies },
  jwks: { keys: [signing] },
  scopes: ['openid', 'offline_access', ...SCOPES],
  pkce: { required: () => true },
  findAccount: (_ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: () => settings.rotate,
  expiresWithSession: async () => false,
  ttl: {
    AccessToken: () => settings.access_token_ttl,
    RefreshToken: () => settings.refresh_token_ttl,
    AuthorizationCode: 60,
    DeviceCode: 600,
    Grant: 14 * 24 * 3600,
    IdToken: 3600,
    Interaction: 3600,
    Session: 14 * 24 * 3600,
  },
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: {
      enabled: true,
      allowedPolicy: async (_ctx, client, token) =>
        client.clientId === RESOURCE_SERVER.client_id || client.clientId === token.clientId,
    },
    registration: { enabled: true },
    registrationManagement: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: async (_ctx, _client, oneOf) => oneOf ?? options.default_resource,
      useGrantedResource: async () => true,
      getResourceServerInfo: async (_ctx, resource) => ({
        scope: SCOPES.join(' '),
        audience: resource,
        accessTokenTTL: settings.access_token_ttl,
        accessTokenFormat: 'opaque',
      }),
    },
    revocation: { enabled: true },
  },
});
provider.use(recorder(path.join(options.data_dir, 'requests.jsonl'), faults));

provider.listen(options.port, '127.0.0.1', () => {
  control({ faults, settings, journal }).listen(options.control_port, '127.0.0.1');
});
