// The features that a client of the matrix tries: what the TypeScript clients share, and the same as
// sides/features.py. Nothing of an SDK is known here, a client is a talker:
// listed(what, cursor), call(name, arguments, {meta, progress, signal}), read(uri), prompt(name,
// arguments), complete(ref, name, value), wantsLogs(level), logs, watching(uris) -> Events with
// close(). A feature returns when it works and throws otherwise.
import { isDeepStrictEqual } from 'node:util';
import { createHash } from 'node:crypto';

const PATIENCE = 20_000; // milliseconds for one feature
const UNICODE = 'Ünïcödé 漢字 🦆👩‍👩‍👧 שלום e\u0301 \u2028 \\ " \t';
const CALLS = 20;
const PIXEL = '25134bdc72c5'; // the beginning of the digest of what it is in base64

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const shown = (value) => JSON.stringify(value)?.slice(0, 300);

export class Failed extends Error {}

/** Things that happened, and a wait for one of them. */
export class Events {
  #seen = [];

  add(kind, uri = '') {
    this.#seen.push(`${kind} ${uri}`.trim());
  }

  async heard(wanted) {
    const end = Date.now() + PATIENCE / 2;
    while (!this.#seen.includes(wanted)) {
      if (Date.now() > end) throw new Failed(`no ${wanted}, only [${this.#seen}]`);
      await pause(10);
    }
    this.#seen.splice(0, this.#seen.indexOf(wanted) + 1);
  }

  forget() {
    this.#seen = [];
  }
}

/** What this client says when it is asked something. */
export function answer(method, params) {
  if (method === 'sampling/createMessage') {
    const { content } = params.messages[0];
    const { text } = Array.isArray(content) ? content[0] : content;
    const said = { type: 'text', text: `${text}!` };
    return { role: 'assistant', content: said, model: 'duck', stopReason: 'endTurn' };
  }
  if (method === 'roots/list') {
    return { roots: [{ uri: 'file:///work/a', name: 'a' }, { uri: 'file:///work/b' }] };
  }
  if (params.mode === 'url') {
    same(params.url, 'https://example.com/go?a=1&b=2');
    return { action: 'accept' };
  }
  if (params.message !== 'accept') return { action: params.message };
  return { action: 'accept', content: { name: 'Ada Ü', age: 36 } };
}

function same(found, wanted) {
  if (!isDeepStrictEqual(found, wanted)) {
    throw new Failed(`found ${shown(found)}, wanted ${shown(wanted)}`);
  }
}

function text(result) {
  if (result.isError) throw new Failed(`an error result: ${shown(result)}`);
  return result.content[0].text;
}

async function everything(t, what, member) {
  const found = [];
  let cursor;
  for (let n = 0; n < 50; n++) {
    const page = await t.listed(what, cursor);
    found.push(...page[member]);
    cursor = page.nextCursor;
    if (!cursor) return found;
  }
  throw new Failed('the pages do not end');
}

async function refused(call) {
  const found = await call.then(
    (result) => ({ result }),
    (error) => ({ error }),
  );
  if (found.error?.code === undefined) throw found.error ?? new Failed(`answered ${shown(found)}`);
  return found.error;
}

const byName = (listed) => Object.fromEntries(listed.map((each) => [each.name, each]));
const plainly = (words) => words.replaceAll('None', 'undefined');
const elicited = (message, wanted) => async (t, at) =>
  same(plainly(text(await t.call(at.tool('elicit'), { message }))), wanted);

const FEATURES = {
  era: async (t, at) => same(text(await t.call(at.tool('spoken'))), at.version),
  'tools list': async (t, at) => {
    const tools = byName(await everything(t, 'tools', 'tools'));
    const echo = tools[at.tool('echo')];
    same(echo?.title, 'Écho');
    same(echo.annotations, { readOnlyHint: true, title: 'Says it again' });
    same(echo.outputSchema.required, ['value']);
    same(echo.inputSchema.properties, { value: {} });
    same(echo._meta, { 'com.example/listed': { by: 'matrix' } });
    same(at.tool('forget') in tools, true);
  },
  'tools call': async (t, at) => {
    const value = { a: [1, 2.5, null, true], b: { c: '' } };
    const meta = { 'com.example/said': 'ping' };
    const found = await t.call(at.tool('echo'), { value }, { meta });
    same(found.structuredContent, { value });
    same(found._meta['com.example/heard'], 'ping');
  },
  'unknown fields': async (t, at) =>
    same((await t.call(at.tool('strange')))['x-result'], { kept: true }),
  'unknown fields in content': async (t, at) =>
    same((await t.call(at.tool('strange'))).content[0]['x-block'], { deep: [1, null, 'ö'] }),
  'tool error': async (t, at) => {
    const found = await t.call(at.tool('fail'));
    same([found.isError, found.content[0].text], [true, 'it did not work']);
  },
  'protocol error': async (t, at) => {
    const error = await refused(t.call(at.tool('refuse')));
    same([error.code, error.data], [-32050, { why: 'matrix' }]);
    same(error.message.includes('no luck today'), true);
  },
  progress: async (t, at) => {
    const heard = [];
    const progress = (each) => heard.push([each.progress, each.total, each.message]);
    same(text(await t.call(at.tool('steps'), {}, { progress })), 'done');
    same(heard, [1, 2, 3].map((n) => [n, 3, `step ${n}`]));
  },
  logging: async (t, at) => {
    await t.wantsLogs('warning');
    t.logs.length = 0;
    same(text(await t.call(at.tool('chat'))), 'logged');
    const end = Date.now() + 5000;
    while (!t.logs.length) {
      if (Date.now() > end) throw new Failed('no log message came');
      await pause(10);
    }
    same(t.logs.map(({ level, data }) => [level, data]), [['warning', 'loud enough']]);
    same(t.logs[0].logger.includes('matrix'), true);
  },
  cancellation: async (t, at) => {
    const id = `${at.name} ${Date.now()} ${Math.random()}`;
    const told = async (tool) => {
      while (text(await t.call(at.tool(tool), { id })) !== 'yes') await pause(50);
    };
    const enough = new AbortController();
    const call = t.call(at.tool('wait'), { id }, { signal: enough.signal }).catch(() => {});
    await told('waiting');
    enough.abort('enough');
    await told('cancelled');
    await call;
  },
  'big result': async (t, at) => {
    const found = text(await t.call(at.tool('big')));
    same([found.length, found[0], found.at(-1)], [5 * 1024 * 1024, 'ä', 'x']);
  },
  unicode: async (t, at) => {
    const found = await t.call(at.tool('echo'), { value: UNICODE });
    same([text(found), found.structuredContent.value], [UNICODE, UNICODE]);
  },
  concurrency: async (t, at) => {
    const wanted = Array.from({ length: CALLS }, (_, n) => `call ${n}`);
    const calls = wanted.map((value) => t.call(at.tool('echo'), { value }));
    same((await Promise.all(calls)).map(text), wanted);
  },
  sampling: async (t, at) =>
    same(text(await t.call(at.tool('sample'), { prompt: 'quack' })), 'duck: quack!'),
  'elicitation accepted': elicited('accept', 'accept Ada Ü 36'),
  'elicitation declined': elicited('decline', 'decline undefined undefined'),
  'elicitation cancelled': elicited('cancel', 'cancel undefined undefined'),
  'elicitation by URL': async (t, at) => same(text(await t.call(at.tool('elicit_url'))), 'accept'),
  'asked twice': async (t, at) => same(text(await t.call(at.tool('elicit_twice'))), 'Ada Ü!'),
  'asked at once': async (t, at) => {
    const prompts = [0, 1, 2, 3, 4].map((n) => `quack ${n}`);
    const calls = prompts.map((prompt) => t.call(at.tool('sample'), { prompt }));
    const found = (await Promise.all(calls)).map(text);
    same(found, prompts.map((prompt) => `duck: ${prompt}!`));
  },
  /** A client of the old era sees the error and comes again, one of the new is asked. */
  'URL required': async (t, at) => {
    const id = `${at.name} ${Date.now()} ${Math.random()}`;
    if (at.refused_first) {
      const error = await refused(t.call(at.tool('url_required'), { id }));
      same(error.code, -32042);
      same(error.data.elicitations[0].url, 'https://example.com/go?a=1&b=2');
    }
    same(text(await t.call(at.tool('url_required'), { id })), 'welcome');
  },
  roots: async (t, at) =>
    same(text(await t.call(at.tool('roots'))), 'file:///work/a file:///work/b'),
  'resources list': async (t, at) => {
    const found = await everything(t, 'resources', 'resources');
    const watched = found.find(({ uri }) => uri === at.uri('watched'));
    same([watched?.mimeType, watched?._meta], ['text/plain', { 'com.example/n': 1 }]);
    same(found.filter(({ uri }) => uri.startsWith(at.uri(''))).length, 27);
  },
  pagination: async (t, at) => {
    const uris = (await everything(t, 'resources', 'resources')).map(({ uri }) => uri);
    const wanted = Array.from({ length: 25 }, (_, n) => at.uri(`items/${n}`));
    same(uris.filter((uri) => uri.startsWith(at.uri('items/'))), wanted);
  },
  'resources read': async (t, at) => {
    const [found] = (await t.read(at.uri('watched'))).contents;
    same([found.uri, found.text], [at.uri('watched'), 'Words of matrix://watched']);
    same(found._meta, { 'com.example/read': 'yes' });
    const [{ blob }] = (await t.read(at.uri('pixel'))).contents;
    same(createHash('sha256').update(blob).digest('hex').slice(0, 12), PIXEL);
  },
  'resource missing': async (t, at) =>
    same((await refused(t.read(at.uri('nowhere')))).code, at.notFound),
  templates: async (t, at) => {
    const found = await everything(t, 'templates', 'resourceTemplates');
    same(found.map((each) => each.uriTemplate).includes(at.uri('greet/{name}')), true);
    const [read] = (await t.read(at.uri('greet/Ada'))).contents;
    same([read.uri, read.text], [at.uri('greet/Ada'), 'Hello Ada']);
  },
  subscription: async (t, at) => {
    const watched = await t.watching([at.uri('watched')]);
    await t.call(at.tool('touch'));
    await watched.events.heard(`updated ${at.uri('watched')}`);
    await watched.close();
  },
  prompts: async (t, at) => {
    const found = byName(await everything(t, 'prompts', 'prompts'));
    same(found[at.tool('greeting')]?.arguments[0].name, 'whom');
    const got = await t.prompt(at.tool('greeting'), { whom: 'Ada Ü' });
    same([got.description, got.messages[0].content.text], ['A greeting', 'Greet Ada Ü']);
  },
  completion: async (t, at) => {
    const prompt = { type: 'ref/prompt', name: at.tool('greeting') };
    same(await t.complete(prompt, 'whom', 'x'), ['greeting whom xa', 'greeting whom xb']);
    const template = { type: 'ref/resource', uri: at.uri('greet/{name}') };
    const wanted = ['a', 'b'].map((ending) => `matrix://greet/{name} name y${ending}`);
    same(await t.complete(template, 'name', 'y'), wanted);
  },
  'tools changed': async (t, at) => {
    const watched = await t.watching([]);
    const grown = text(await t.call(at.tool('grow'))) === 'grown';
    await watched.events.heard('tools');
    const names = (await everything(t, 'tools', 'tools')).map(({ name }) => name);
    same(names.includes(at.tool('extra')), grown);
    await watched.close();
  },
  /** The next call works, or gets an error that says why; soon one works. */
  'session forgotten': async (t, at) => {
    await t.call(at.tool('forget'));
    const end = Date.now() + PATIENCE / 2;
    for (;;) {
      const found = await t.call(at.tool('echo'), { value: 'back' }).then(
        (result) => ({ result, said: result.isError && result.content[0].text }),
        (error) => ({ said: error.message }),
      );
      if (found.result && !found.result.isError) return same(text(found.result), 'back');
      if (!found.said?.trim()) throw new Failed('an error without words');
      if (Date.now() > end) throw new Failed(`still ${found.said}`);
      await pause(50);
    }
  },
};

// --- running them --------------------------------------------------------------------------------

/** A server as it is found at one endpoint; in an aggregate its names begin with its own. */
const targetOf = (given) => ({
  ...given,
  notFound: given.not_found ?? -32002,
  tool: (name) => `${given.tool_prefix ?? ''}${name}`,
  uri: (path) => `${given.uri_prefix ?? ''}matrix://${path}`,
});

const tell = (target, feature, why) =>
  process.stdout.write(`${JSON.stringify({ target, feature, ok: !why, why })}\n`);

const reason = (error) =>
  `${error.constructor?.name}: ${error.code ?? ''} ${String(error.message).slice(0, 500)}`;

async function attempt(talker, target, feature) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Failed('no end')), PATIENCE);
  });
  try {
    await Promise.race([FEATURES[feature](talker, target), late]);
    tell(target.name, feature, '');
  } catch (error) {
    tell(target.name, feature, reason(error));
  } finally {
    clearTimeout(timer);
  }
}

async function visit(connect, target) {
  let talker;
  try {
    talker = await connect(target);
  } catch (error) {
    for (const feature of target.features) {
      tell(target.name, feature, `no connection: ${reason(error)}`);
    }
    return;
  }
  for (const feature of target.features) await attempt(talker, target, feature);
  await talker.close().catch(() => {});
}

/** The job is on standard input: era, transport and key of the client, and its targets. */
export async function main(connect) {
  process.on('unhandledRejection', (error) => console.error('unhandled', error));
  let job = '';
  for await (const chunk of process.stdin) job += chunk;
  const { era, transport, key, targets } = JSON.parse(job);
  for (const target of targets) await visit(connect(era, transport, key), targetOf(target));
  process.exit(0);
}
