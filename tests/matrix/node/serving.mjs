// What the servers in TypeScript share: their arguments, and HTTP with sessions that can be lost.
import http from 'node:http';
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';

const SOON = 100; // milliseconds: the answer of `forget` goes out first

export const options = () =>
  parseArgs({
    options: {
      wire: { type: 'string' },
      era: { type: 'string', default: 'legacy' },
      port: { type: 'string', default: '0' },
    },
  }).values;

const serve = (port, listener) => http.createServer(listener).listen(Number(port), '127.0.0.1');

function nothing(response, words) {
  response.writeHead(404).end(words);
}

/** Streamable HTTP at /mcp with a session for each client. `open(Transport options)` begins one. */
export function overHttp(port, world, Transport, open) {
  const sessions = new Map();
  world.forget = () => sessions.clear();
  serve(port, async (request, response) => {
    if (!request.url.startsWith('/mcp')) return nothing(response, 'Nothing is here');
    const session = request.headers['mcp-session-id'];
    if (session && !sessions.has(session)) return nothing(response, 'Session not found');
    let transport = sessions.get(session);
    if (!transport) {
      transport = new Transport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (id) => void sessions.set(id, transport),
      });
      await open(transport);
    }
    await transport.handleRequest(request, response);
  });
}

/** HTTP+SSE at /sse and /messages; forgetting cuts all streams. */
export function overSse(port, world, Transport, open) {
  const sessions = new Map();
  world.forget = () =>
    setTimeout(() => {
      for (const { response } of sessions.values()) response.end();
      sessions.clear();
    }, SOON);
  serve(port, async (request, response) => {
    const url = new URL(request.url, 'http://127.0.0.1');
    if (url.pathname === '/sse' && request.method === 'GET') {
      const transport = new Transport('/messages', response);
      sessions.set(transport.sessionId, { transport, response });
      return open(transport);
    }
    const found = sessions.get(url.searchParams.get('sessionId'));
    if (!found) return nothing(response, 'Nothing is here');
    await found.transport.handlePostMessage(request, response);
  });
}

/** Over stdio a session is a process. */
export function diesWhenForgetting(world) {
  world.forget = () => setTimeout(() => process.exit(0), SOON);
}

/** A modern server, which has no sessions: `handle` is a handler of node:http. */
export function overModernHttp(port, handle) {
  serve(port, (request, response) =>
    request.url.startsWith('/mcp') ? handle(request, response) : nothing(response, ''),
  );
}
