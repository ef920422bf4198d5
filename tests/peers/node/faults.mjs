// Misbehaviour on request. A fault says which requests it is for and what happens to them:
//
//   { path, grant_type?, times, when: "before" | "after", action, ... }
//
//   status   answer `status` with `headers` and `body`
//   hang     never answer
//   drop     close the connection without an answer
//   delay    wait `seconds`, then go on as usual
//   cut      (after) send the first half of the answer, then close the connection
//   edit     (after) `set` and `remove` members of the JSON answer
//
// "before": the provider never sees the request. "after": it has done its work, and a rotated
// refresh token is spent, whatever the client then hears.
const ACTIONS = ['status', 'hang', 'drop', 'delay', 'cut', 'edit'];

export class Faults {
  #queue = [];

  add(fault) {
    if (!ACTIONS.includes(fault.action)) throw new Error(`unknown fault action: ${fault.action}`);
    const entry = { path: '/token', times: 1, when: 'before', ...fault };
    if (['cut', 'edit'].includes(entry.action)) entry.when = 'after';
    this.#queue.push(entry);
  }

  clear() {
    this.#queue = [];
  }

  list() {
    return this.#queue;
  }

  // The first fault that is for this request, used up by one. `times: null` never runs out.
  take(path, grantType) {
    const index = this.#queue.findIndex(
      (fault) =>
        (fault.path === '*' || fault.path === path) &&
        (fault.grant_type === undefined || fault.grant_type === grantType),
    );
    if (index < 0) return null;
    const fault = this.#queue[index];
    if (fault.times !== null) {
      fault.times -= 1;
      if (fault.times <= 0) this.#queue.splice(index, 1);
    }
    return { ...fault };
  }
}

export async function misbehave(fault, ctx) {
  switch (fault.action) {
    case 'status':
      ctx.status = fault.status ?? 503;
      ctx.set(fault.headers ?? {});
      ctx.body = fault.body ?? { error: 'temporarily_unavailable' };
      break;
    case 'hang':
      ctx.respond = false;
      break;
    case 'drop':
      ctx.respond = false;
      ctx.req.socket.destroy();
      break;
    case 'delay':
      await new Promise((resolve) => setTimeout(resolve, (fault.seconds ?? 1) * 1000));
      break;
    case 'cut': {
      ctx.respond = false;
      const body = Buffer.from(JSON.stringify(ctx.body ?? {}));
      ctx.res.writeHead(ctx.status, {
        'content-type': 'application/json',
        'content-length': body.length,
      });
      ctx.res.write(body.subarray(0, body.length >> 1), () => ctx.req.socket.destroy());
      break;
    }
    case 'edit': {
      const body = { ...ctx.body, ...fault.set };
      for (const name of fault.remove ?? []) delete body[name];
      ctx.body = body;
      break;
    }
  }
}
