// What the matrix's servers in TypeScript offer, for both generations of the SDK: the same as
// sides/offer.py. Nothing of an SDK is known here; a tool asks what it needs of its `side`.

const TEXT = { type: 'string' };
const ITEMS = 25;
const PAGE = 10;
const LUCK = -32050;
const BIG = 5 * 1024 * 1024;
const STEP = 300; // milliseconds: this SDK's client drops the progress that comes with the answer
const ECHOED = { type: 'object', properties: { value: {} }, required: ['value'] };
const PIXEL = Buffer.from(Array.from({ length: 64 }, (_, n) => n)).toString('base64');
const URL_QUESTION = {
  mode: 'url',
  message: 'accept',
  url: 'https://example.com/go?a=1&b=2',
  elicitationId: 'elicitation-7',
};
export const WATCHED = 'matrix://watched';
export const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

/** A JSON-RPC error of the server's own. */
export class Refused extends Error {
  constructor(code, message, data) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

/** What one server remembers between requests. */
export class World {
  grown = false;
  waiting = new Set();
  cancelled = new Set();
  welcome = new Set();
  level = 'debug';
  /** Loses every session, each in the way of its transport. */
  forget = () => {};
}

const words = (text, more = {}) => ({ content: [{ type: 'text', text }], ...more });

// --- tools ---------------------------------------------------------------------------------------

const HANDLERS = {
  echo: (side, world, { value }, meta) =>
    words(typeof value === 'string' ? value : JSON.stringify(value), {
      structuredContent: { value },
      _meta: { 'com.example/heard': meta['com.example/said'] ?? 'nothing' },
    }),
  strange: () => ({
    content: [{ type: 'text', text: 'strange', 'x-block': { deep: [1, null, 'ö'] } }],
    'x-result': { kept: true },
  }),
  spoken: (side) => words(side.version),
  extra: (side) => words(side.version),
  fail: () => words('it did not work', { isError: true }),
  refuse: () => {
    throw new Refused(LUCK, 'no luck today', { why: 'matrix' });
  },
  async steps(side) {
    for (const done of [1, 2, 3]) await side.progress(done, 3, `step ${done}`);
    await new Promise((go) => setTimeout(go, STEP));
    return words('done');
  },
  async chat(side) {
    await side.log('debug', 'too quiet to be heard');
    await side.log('warning', 'loud enough');
    return words('logged');
  },
  /** Waits until it is cancelled; `cancelled` tells that it was. */
  wait: (side, world, { id }) =>
    new Promise((_, fail) => {
      world.waiting.add(id);
      side.signal.addEventListener('abort', () => {
        world.cancelled.add(id);
        fail(new Error('cancelled'));
      });
    }),
  waiting: (side, world, { id }) => words(world.waiting.has(id) ? 'yes' : 'no'),
  cancelled: (side, world, { id }) => words(world.cancelled.has(id) ? 'yes' : 'no'),
  sample: (side, world, { prompt }) =>
    side.ask(
      'sampling/createMessage',
      { messages: [{ role: 'user', content: { type: 'text', text: prompt } }], maxTokens: 20 },
      (heard) => words(`${heard.model}: ${heard.content.text}`),
    ),
  elicit: (side, world, { message }) => {
    const requestedSchema = {
      type: 'object',
      properties: { name: TEXT, age: { type: 'integer' } },
      required: ['name'],
    };
    return side.ask('elicitation/create', { mode: 'form', message, requestedSchema }, (heard) =>
      words(`${heard.action} ${heard.content?.name} ${heard.content?.age}`),
    );
  },
  elicit_url: (side) =>
    side.ask('elicitation/create', URL_QUESTION, (heard) => words(heard.action)),
  /** One question after the other: the second is about the first one's answer. */
  elicit_twice: (side) => {
    const requestedSchema = { type: 'object', properties: { name: TEXT, age: { type: 'integer' } } };
    const asked = { mode: 'form', message: 'accept', requestedSchema };
    return side.ask('elicitation/create', asked, (first) => {
      const content = { type: 'text', text: first.content.name };
      const second = { messages: [{ role: 'user', content }], maxTokens: 20 };
      return side.ask('sampling/createMessage', second, (heard) => words(heard.content.text));
    });
  },
  /** Refuses until the person was there: the second call is answered. */
  url_required: (side, world, { id }) => {
    if (world.welcome.has(id)) return words('welcome');
    world.welcome.add(id);
    if (side.version >= '2026') return side.ask('elicitation/create', URL_QUESTION, () => words(''));
    throw new Refused(-32042, 'Go there first', { elicitations: [URL_QUESTION] });
  },
  roots: (side) =>
    side.ask('roots/list', {}, (heard) => words(heard.roots.map((root) => root.uri).join(' '))),
  async touch(side) {
    await side.updated(WATCHED);
    return words('touched');
  },
  async grow(side, world) {
    world.grown = !world.grown;
    await side.toolsChanged();
    return words(world.grown ? 'grown' : 'shrunk');
  },
  big: () => words('ä' + 'x'.repeat(BIG - 1)),
  forget: (side, world) => {
    world.forget();
    return words('who are you?');
  },
};

const ARGUMENTS = {
  wait: 'id',
  waiting: 'id',
  cancelled: 'id',
  sample: 'prompt',
  elicit: 'message',
  url_required: 'id',
};
const MORE = {
  echo: {
    title: 'Écho',
    inputSchema: ECHOED,
    outputSchema: ECHOED,
    annotations: { readOnlyHint: true, title: 'Says it again' },
    _meta: { 'com.example/listed': { by: 'matrix' } },
  },
};

function listed(name) {
  const argument = ARGUMENTS[name];
  const inputSchema = argument
    ? { type: 'object', properties: { [argument]: TEXT }, required: [argument] }
    : { type: 'object', properties: {} };
  return { name, description: `Does ${name}`, inputSchema, ...MORE[name] };
}

export const tools = (world) => ({
  tools: Object.keys(HANDLERS)
    .filter((name) => name !== 'extra' || world.grown)
    .map(listed),
});

export function call(side, world, { name, arguments: given }, meta) {
  const handler = HANDLERS[name];
  if (!handler) throw new Refused(-32602, `Unknown tool: ${name}`);
  return handler(side, world, given ?? {}, meta ?? {});
}

// --- resources -----------------------------------------------------------------------------------

const RESOURCES = [
  { uri: WATCHED, name: 'watched', mimeType: 'text/plain', _meta: { 'com.example/n': 1 } },
  { uri: 'matrix://pixel', name: 'pixel', mimeType: 'application/octet-stream' },
  ...Array.from({ length: ITEMS }, (_, n) => ({ uri: `matrix://items/${n}`, name: `item ${n}` })),
];

/** One page: there are three. */
export function resources(cursor) {
  const start = cursor ? Number(cursor.replace('from-', '')) : 0;
  const end = start + PAGE;
  const found = { resources: RESOURCES.slice(start, end) };
  return end < RESOURCES.length ? { ...found, nextCursor: `from-${end}` } : found;
}

export const templates = () => ({
  resourceTemplates: [
    { uriTemplate: 'matrix://greet/{name}', name: 'greet', mimeType: 'text/plain' },
  ],
});

export function read(uri, notFound) {
  const greeted = uri.match(/^matrix:\/\/greet\/(.*)$/);
  if (greeted) return { contents: [{ uri, mimeType: 'text/plain', text: `Hello ${greeted[1]}` }] };
  if (uri === 'matrix://pixel') {
    return { contents: [{ uri, mimeType: 'application/octet-stream', blob: PIXEL }] };
  }
  if (RESOURCES.some((each) => each.uri === uri)) {
    return { contents: [{ uri, text: `Words of ${uri}`, _meta: { 'com.example/read': 'yes' } }] };
  }
  throw new Refused(notFound, 'Resource not found', { uri });
}

// --- prompts and completion ----------------------------------------------------------------------

export const prompts = () => ({
  prompts: [
    {
      name: 'greeting',
      title: 'Greeting',
      arguments: [{ name: 'whom', description: 'Who is greeted', required: true }],
    },
  ],
});

export function prompt({ name, arguments: given }) {
  if (name !== 'greeting') throw new Refused(-32602, `Unknown prompt: ${name}`);
  const content = { type: 'text', text: `Greet ${given?.whom}` };
  return { description: 'A greeting', messages: [{ role: 'user', content }] };
}

export function complete({ ref, argument }) {
  const values = ['a', 'b'].map(
    (ending) => `${ref.name ?? ref.uri} ${argument.name} ${argument.value}${ending}`,
  );
  return { completion: { values, total: 2, hasMore: false } };
}
