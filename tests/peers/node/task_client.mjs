// A client of 2025-11-25 with tasks, on the official SDK: each tool of its job is called as a task,
// all at once. Its job is JSON on standard input: {url, headers, calls: [{name, arguments}], cancel}.
// It says what it saw as one JSON object.
import { text } from 'node:stream/consumers';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CallToolResultSchema, ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';

const RELATED = 'io.modelcontextprotocol/related-task';
// Servers in Python leave out what has no end, which this SDK takes for no task.
const AS_TASK = { task: { ttl: 60000 } };

const job = JSON.parse(await text(process.stdin));
const client = new Client(
  { name: 'task-client', version: '1' },
  { capabilities: { elicitation: { form: {} } } },
);
const asked = [];
client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
  asked.push(params._meta?.[RELATED]?.taskId);
  return { action: 'accept', content: { interpretation: 'as a test' } };
});
await client.connect(
  new StreamableHTTPClientTransport(new URL(job.url), { requestInit: { headers: job.headers } }),
);
await client.listTools(); // it learns here which tools must be tasks

function stream(params) {
  return client.experimental.tasks.callToolStream(params, CallToolResultSchema, AS_TASK);
}

async function called(params) {
  const seen = { taskId: null, states: [], text: null, error: null };
  for await (const said of stream(params)) {
    if (said.type === 'taskCreated') seen.taskId = said.task.taskId;
    if (said.type === 'taskStatus') seen.states.push([said.task.taskId, said.task.status]);
    if (said.type === 'result') seen.text = said.result.content[0].text;
    if (said.type === 'error') seen.error = said.error.message;
  }
  return seen;
}

async function cancelled(params) {
  for await (const said of stream(params)) {
    if (said.type !== 'taskCreated') continue;
    const { taskId } = said.task;
    const { status } = await client.experimental.tasks.cancelTask(taskId);
    return { taskId, status, then: (await client.experimental.tasks.getTask(taskId)).status };
  }
}

const [calls, given_up] = await Promise.all([
  Promise.all(job.calls.map(called)),
  cancelled(job.cancel),
]);
const listed = [];
let cursor;
do {
  const page = await client.experimental.tasks.listTasks(cursor);
  listed.push(...page.tasks.map((task) => task.taskId));
  cursor = page.nextCursor;
} while (cursor);
const unknown = await client.experimental.tasks.getTask(`${listed[0]}0`).then(
  () => 0,
  (error) => error.code,
);
console.log(JSON.stringify({ calls, given_up, asked, listed, unknown }));
await client.close();
