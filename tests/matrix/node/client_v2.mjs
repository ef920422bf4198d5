// The matrix's client on the TypeScript SDK of the second generation, in either era.
// node client_v2.mjs <JOB
import {
  Client,
  LOG_LEVEL_META_KEY,
  SSEClientTransport,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { answer, Events, main } from './features.mjs';

const MODERN = '2026-07-28';
const LISTS = {
  tools: 'listTools',
  resources: 'listResources',
  templates: 'listResourceTemplates',
  prompts: 'listPrompts',
};
const FRESH = { cacheMode: 'bypass' };

function talkerOf(client, modern) {
  const events = new Events();
  const logs = [];
  let level;
  const on = (method, handler) => client.setNotificationHandler(method, handler);
  on('notifications/tools/list_changed', () => events.add('tools'));
  on('notifications/resources/updated', ({ params }) => events.add('updated', params.uri));
  on('notifications/message', ({ params }) => void logs.push(params));
  const watchingLegacy = async (uris) => {
    for (const uri of uris) await client.subscribeResource({ uri });
    const close = async () => {
      for (const uri of uris) await client.unsubscribeResource({ uri });
    };
    return { events, close };
  };
  return {
    logs,
    listed: (what, cursor) => client[LISTS[what]](cursor ? { cursor } : {}, FRESH),
    call: (name, given = {}, { meta, progress, signal } = {}) => {
      const _meta = { ...meta, ...(level && { [LOG_LEVEL_META_KEY]: level }) };
      const params = { name, arguments: given, ...(Object.keys(_meta).length && { _meta }) };
      return client.callTool(params, { onprogress: progress, signal });
    },
    read: (uri) => client.readResource({ uri }, FRESH),
    prompt: (name, given) => client.getPrompt({ name, arguments: given }),
    complete: async (ref, name, value) =>
      (await client.complete({ ref, argument: { name, value } })).completion.values,
    wantsLogs: async (wanted) => {
      if (modern) level = wanted;
      else await client.setLoggingLevel(wanted);
    },
    watching: async (uris) => {
      events.forget();
      if (!modern) return watchingLegacy(uris);
      const listening = await client.listen({
        toolsListChanged: true,
        ...(uris.length && { resourceSubscriptions: uris }),
      });
      return { events, close: () => listening.close() };
    },
    close: () => client.close(),
  };
}

function transportTo({ url, command, env }, transport, key) {
  const headers = { 'X-API-Key': key };
  if (transport === 'stdio') {
    const [program, ...args] = command;
    return new StdioClientTransport({ command: program, args, env: { ...process.env, ...env } });
  }
  const requestInit = { headers };
  if (transport === 'http') return new StreamableHTTPClientTransport(new URL(url), { requestInit });
  return new SSEClientTransport(new URL(url), {
    requestInit,
    eventSourceInit: {
      fetch: (to, init) => fetch(to, { ...init, headers: { ...init.headers, ...headers } }),
    },
  });
}

await main((era, transport, key) => async (target) => {
  const modern = era === 'modern';
  const client = new Client(
    { name: 'matrix-typescript-2', version: '1.0.0' },
    {
      capabilities: { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} },
      versionNegotiation: { mode: modern ? { pin: MODERN } : 'legacy' },
    },
  );
  const asked = (method) =>
    client.setRequestHandler(method, ({ params }) => answer(method, params));
  asked('sampling/createMessage');
  asked('elicitation/create');
  asked('roots/list');
  const talker = talkerOf(client, modern);
  await client.connect(transportTo(target, transport, key));
  return talker;
});
