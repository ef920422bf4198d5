// The tests' own door, on a port of its own so that nothing of it is part of the provider.
import http from 'node:http';

async function readJson(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  return text ? JSON.parse(text) : {};
}

export function control({ faults, settings, journal }) {
  const routes = {
    'GET /ready': () => ({ ready: true }),
    'GET /faults': () => faults.list(),
    'POST /faults': (body) => {
      for (const fault of [body].flat()) faults.add(fault);
      return faults.list();
    },
    'DELETE /faults': () => {
      faults.clear();
      return [];
    },
    'GET /settings': () => settings,
    'POST /settings': (body) => Object.assign(settings, body),
    'POST /revoke-grants': () => journal.revokeAllGrants(),
    'POST /forget-client': ({ client_id: clientId }) => {
      journal.delete(`Client:${clientId}`);
      return { client_id: clientId };
    },
  };

  return http.createServer(async (req, res) => {
    const route = routes[`${req.method} ${req.url}`];
    const answer = (status, value) => {
      res.writeHead(status, { 'content-type': 'application/json' });
      res.end(JSON.stringify(value));
    };
    if (!route) return answer(404, { error: `no such route: ${req.method} ${req.url}` });
    try {
      return answer(200, await route(await readJson(req)));
    } catch (error) {
      return answer(400, { error: String(error.message) });
    }
  });
}
