// The matrix's server on the TypeScript SDK of the first generation.
// node server_v1.mjs --wire http|sse|stdio [--port PORT]
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import * as types from '@modelcontextprotocol/sdk/types.js';
import * as offer from './offer.mjs';
import { diesWhenForgetting, options, overHttp, overSse } from './serving.mjs';

const ANSWERS = {
  'sampling/createMessage': types.CreateMessageResultSchema,
  'elicitation/create': types.ElicitResultSchema,
  'roots/list': types.ListRootsResultSchema,
};

/** One request; the client is asked on its stream. */
const sideOf = (server, world, version, extra) => ({
  version,
  signal: extra.signal,
  ask: async (method, params, then) =>
    then(await extra.sendRequest({ method, params }, ANSWERS[method])),
  progress: async (progress, total, message) => {
    const progressToken = extra._meta?.progressToken;
    if (progressToken === undefined) return;
    const params = { progressToken, progress, total, message };
    await extra.sendNotification({ method: 'notifications/progress', params });
  },
  log: async (level, data) => {
    if (offer.LEVELS.indexOf(level) < offer.LEVELS.indexOf(world.level)) return;
    const params = { level, data, logger: 'matrix' };
    await extra.sendNotification({ method: 'notifications/message', params });
  },
  toolsChanged: () => server.sendToolListChanged(),
  updated: (uri) => server.sendResourceUpdated({ uri }),
});

/** Connects a server of its own to `transport`. */
async function open(world, transport) {
  const server = new Server(
    { name: 'matrix-typescript-1', version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        resources: { subscribe: true },
        prompts: {},
        completions: {},
        logging: {},
      },
      instructions: 'For the matrix.',
    },
  );
  let version = '';
  const on = (schema, handler) => server.setRequestHandler(schema, handler);
  on(types.ListToolsRequestSchema, () => offer.tools(world));
  on(types.CallToolRequestSchema, ({ params }, extra) =>
    offer.call(sideOf(server, world, version, extra), world, params, params._meta),
  );
  on(types.ListResourcesRequestSchema, ({ params }) => offer.resources(params?.cursor));
  on(types.ListResourceTemplatesRequestSchema, () => offer.templates());
  on(types.ReadResourceRequestSchema, ({ params }) => offer.read(params.uri, -32002));
  on(types.SubscribeRequestSchema, () => ({}));
  on(types.UnsubscribeRequestSchema, () => ({}));
  on(types.ListPromptsRequestSchema, () => offer.prompts());
  on(types.GetPromptRequestSchema, ({ params }) => offer.prompt(params));
  on(types.CompleteRequestSchema, ({ params }) => offer.complete(params));
  on(types.SetLevelRequestSchema, ({ params }) => {
    world.level = params.level;
    return {};
  });
  await server.connect(transport);
  const receive = transport.onmessage;
  transport.onmessage = (message, extra) => {
    if (message.method === 'initialize') version = message.params.protocolVersion;
    receive(message, extra);
  };
}

const { wire, port } = options();
const world = new offer.World();
const begin = (transport) => open(world, transport);
if (wire === 'http') overHttp(port, world, StreamableHTTPServerTransport, begin);
else if (wire === 'sse') overSse(port, world, SSEServerTransport, begin);
else {
  diesWhenForgetting(world);
  await begin(new StdioServerTransport());
}
