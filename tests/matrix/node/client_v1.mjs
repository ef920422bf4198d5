// The matrix's client on the TypeScript SDK of the first generation. node client_v1.mjs <JOB
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import * as types from '@modelcontextprotocol/sdk/types.js';
import { answer, Events, main } from './features.mjs';

const LISTS = {
  tools: 'listTools',
  resources: 'listResources',
  templates: 'listResourceTemplates',
  prompts: 'listPrompts',
};

function talkerOf(client) {
  const events = new Events();
  const logs = [];
  const on = (schema, handler) => client.setNotificationHandler(schema, handler);
  on(types.ToolListChangedNotificationSchema, () => events.add('tools'));
  on(types.ResourceUpdatedNotificationSchema, ({ params }) => events.add('updated', params.uri));
  on(types.LoggingMessageNotificationSchema, ({ params }) => void logs.push(params));
  return {
    logs,
    listed: (what, cursor) => client[LISTS[what]](cursor ? { cursor } : undefined),
    call: (name, given = {}, { meta, progress, signal } = {}) =>
      client.callTool(
        { name, arguments: given, ...(meta && { _meta: meta }) },
        types.CallToolResultSchema,
        { onprogress: progress, signal },
      ),
    read: (uri) => client.readResource({ uri }),
    prompt: (name, given) => client.getPrompt({ name, arguments: given }),
    complete: async (ref, name, value) =>
      (await client.complete({ ref, argument: { name, value } })).completion.values,
    wantsLogs: (level) => client.setLoggingLevel(level),
    watching: async (uris) => {
      events.forget();
      for (const uri of uris) await client.subscribeResource({ uri });
      const close = async () => {
        for (const uri of uris) await client.unsubscribeResource({ uri });
      };
      return { events, close };
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
  const client = new Client(
    { name: 'matrix-typescript-1', version: '1.0.0' },
    { capabilities: { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} } },
  );
  const asked = (schema, method) =>
    client.setRequestHandler(schema, ({ params }) => answer(method, params));
  asked(types.CreateMessageRequestSchema, 'sampling/createMessage');
  asked(types.ElicitRequestSchema, 'elicitation/create');
  asked(types.ListRootsRequestSchema, 'roots/list');
  const talker = talkerOf(client);
  await client.connect(transportTo(target, transport, key));
  return talker;
});
