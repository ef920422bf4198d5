// The matrix's server on the TypeScript SDK of the second generation, in either era.
// node server_v2.mjs --wire http|sse|stdio --era legacy|modern [--port PORT]
import { NodeStreamableHTTPServerTransport, toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, inputRequired, Server } from '@modelcontextprotocol/server';
import { serveStdio, StdioServerTransport } from '@modelcontextprotocol/server/stdio';
import { SSEServerTransport } from '@modelcontextprotocol/server-legacy/sse';
import * as offer from './offer.mjs';
import { diesWhenForgetting, options, overHttp, overModernHttp, overSse } from './serving.mjs';

const MODERN = '2026-07-28';

const question = {
  'sampling/createMessage': (params) => inputRequired.createMessage(params),
  'elicitation/create': ({ elicitationId, ...params }) =>
    params.mode === 'url' ? inputRequired.elicitUrl(params) : inputRequired.elicit(params),
  'roots/list': () => inputRequired.listRoots(),
};

/** One request: of a client that is asked at once, or by having it come again. */
const sideOf = (server, world, notifier, ctx) => {
  const version = server.getNegotiatedProtocolVersion();
  const modern = version === MODERN;
  const { mcpReq } = ctx;
  let asked = 0;
  return {
    version,
    signal: mcpReq.signal,
    ask: async (method, params, then) => {
      if (!modern) return then(await mcpReq.send({ method, params }));
      // What was heard before comes back as the state.
      const before = JSON.parse(mcpReq.requestState() ?? '[]');
      const said = [...before, ...Object.values(mcpReq.inputResponses ?? {})];
      asked += 1;
      if (said.length >= asked) return then(said[asked - 1]);
      const inputRequests = { [`question ${asked}`]: question[method](params) };
      return inputRequired({ inputRequests, requestState: JSON.stringify(said) });
    },
    progress: async (progress, total, message) => {
      const progressToken = mcpReq._meta?.progressToken;
      if (progressToken === undefined) return;
      const params = { progressToken, progress, total, message };
      await mcpReq.notify({ method: 'notifications/progress', params });
    },
    log: (level, data) => mcpReq.log(level, data, 'matrix'),
    toolsChanged: async () => (modern ? notifier.toolsChanged() : server.sendToolListChanged()),
    updated: async (uri) =>
      modern ? notifier.resourceUpdated(uri) : server.sendResourceUpdated({ uri }),
  };
};

function build(world, notifier) {
  const server = new Server(
    { name: 'matrix-typescript-2', version: '1.0.0' },
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
  const on = (method, handler) => server.setRequestHandler(method, handler);
  const missing = () => (server.getNegotiatedProtocolVersion() === MODERN ? -32602 : -32002);
  on('tools/list', () => offer.tools(world));
  on('tools/call', ({ params }, ctx) =>
    offer.call(sideOf(server, world, notifier(server), ctx), world, params, ctx.mcpReq._meta),
  );
  on('resources/list', ({ params }) => offer.resources(params?.cursor));
  on('resources/templates/list', () => offer.templates());
  on('resources/read', ({ params }) => offer.read(params.uri, missing()));
  on('resources/subscribe', () => ({}));
  on('resources/unsubscribe', () => ({}));
  on('prompts/list', () => offer.prompts());
  on('prompts/get', ({ params }) => offer.prompt(params));
  on('completion/complete', ({ params }) => offer.complete(params));
  return server;
}

/** Over stdio, news of a modern server are notifications that the SDK puts on the listens. */
const overStdio = (server) => ({
  toolsChanged: () => server.sendToolListChanged(),
  resourceUpdated: (uri) => server.sendResourceUpdated({ uri }),
});

const { wire, port, era } = options();
const world = new offer.World();
if (era === 'modern' && wire === 'stdio') {
  diesWhenForgetting(world);
  serveStdio(() => build(world, overStdio), { legacy: 'reject' });
} else if (era === 'modern') {
  const handler = createMcpHandler(() => build(world, () => handler.notify), { legacy: 'reject' });
  overModernHttp(port, toNodeHandler(handler));
} else {
  const begin = (transport) => build(world, () => undefined).connect(transport);
  if (wire === 'http') overHttp(port, world, NodeStreamableHTTPServerTransport, begin);
  else if (wire === 'sse') overSse(port, world, SSEServerTransport, begin);
  else {
    diesWhenForgetting(world);
    await begin(new StdioServerTransport());
  }
}
