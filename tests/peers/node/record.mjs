// The ground truth: one line for every request that asked the provider to do something, written
// before its answer leaves. Tokens appear as fingerprints (first 16 hex digits of SHA-256).
import crypto from 'node:crypto';
import fs from 'node:fs';
import querystring from 'node:querystring';

import { misbehave } from './faults.mjs';

const RECORDED = ['/token', '/token/revocation', '/reg', '/device/auth', '/request'];

export function fingerprint(token) {
  if (!token) return null;
  return crypto.createHash('sha256').update(token).digest('hex').slice(0, 16);
}

async function read(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function basicUser(ctx) {
  const [scheme, value] = ctx.get('authorization').split(' ');
  if (scheme?.toLowerCase() !== 'basic') return null;
  const [user] = Buffer.from(value ?? '', 'base64').toString().split(':');
  return decodeURIComponent(user);
}

export function recorder(path, faults) {
  const file = fs.openSync(path, 'a');

  return async function record(ctx, next) {
    const isForm = ctx.is('application/x-www-form-urlencoded');
    let form = {};
    if (ctx.method === 'POST' && isForm) {
      // The provider takes a body that was read before it, if it finds it here.
      ctx.req.body = await read(ctx.req);
      form = querystring.parse(ctx.req.body);
    }
    const started = Date.now();
    const fault = faults.take(ctx.path, form.grant_type);
    const before = fault?.when === 'before' ? fault : null;
    const after = fault?.when === 'after' ? fault : null;

    if (before) await misbehave(before, ctx);
    const processed = !before || before.action === 'delay';
    if (processed) await next();

    if (ctx.method === 'POST' && RECORDED.includes(ctx.path)) {
      const answer = processed && typeof ctx.body === 'object' ? (ctx.body ?? {}) : {};
      fs.writeSync(
        file,
        `${JSON.stringify({
          at: started / 1000,
          done_at: Date.now() / 1000,
          path: ctx.path,
          grant_type: form.grant_type ?? null,
          client_id: form.client_id ?? basicUser(ctx) ?? answer.client_id ?? null,
          resource: form.resource ?? null,
          refresh_token: fingerprint(form.refresh_token),
          processed,
          status: processed ? ctx.status : null,
          error: answer.error ?? null,
          error_description: answer.error_description ?? null,
          issued_access_token: fingerprint(answer.access_token),
          issued_refresh_token: fingerprint(answer.refresh_token),
          fault: fault?.action ?? null,
        })}\n`,
      );
    }
    if (after) await misbehave(after, ctx);
  };
}
