// Storage for oidc-provider that survives `kill -9`: every change is one appended line, so what the
// provider has told a client is on disk before the answer leaves. Read back and compacted at start.
import fs from 'node:fs';

const GRANTABLE = ['AccessToken', 'AuthorizationCode', 'RefreshToken', 'DeviceCode'];

export class Journal {
  #entries = new Map();
  #file;

  constructor(path) {
    this.#load(path);
    this.#compact(path);
    this.#file = fs.openSync(path, 'a');
  }

  #load(path) {
    if (!fs.existsSync(path)) return;
    for (const line of fs.readFileSync(path, 'utf8').split('\n')) {
      let entry;
      try {
        entry = JSON.parse(line);
      } catch {
        continue; // the last line may be torn by a kill
      }
      const [key, payload, expiresAt] = entry;
      if (payload === null) this.#entries.delete(key);
      else this.#entries.set(key, { payload, expiresAt });
    }
  }

  #compact(path) {
    const lines = [...this.#entries].map(
      ([key, { payload, expiresAt }]) => `${JSON.stringify([key, payload, expiresAt])}\n`,
    );
    fs.writeFileSync(`${path}.new`, lines.join(''));
    fs.renameSync(`${path}.new`, path);
  }

  #append(key, payload, expiresAt) {
    fs.writeSync(this.#file, `${JSON.stringify([key, payload, expiresAt])}\n`);
  }

  get(key) {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (entry.expiresAt !== null && entry.expiresAt <= Date.now()) {
      this.delete(key);
      return undefined;
    }
    return entry.payload;
  }

  set(key, payload, expiresAt) {
    this.#entries.set(key, { payload, expiresAt });
    this.#append(key, payload, expiresAt);
  }

  delete(key) {
    if (this.#entries.delete(key)) this.#append(key, null, null);
  }

  *[Symbol.iterator]() {
    for (const key of [...this.#entries.keys()]) {
      const payload = this.get(key);
      if (payload !== undefined) yield [key, payload];
    }
  }

  expiry(key) {
    return this.#entries.get(key)?.expiresAt ?? null;
  }

  // What a user does who withdraws the consent on the provider's own pages. Returns the grants ended.
  revokeAllGrants() {
    const ended = new Set();
    for (const [key, payload] of this) {
      const model = key.slice(0, key.indexOf(':'));
      if (GRANTABLE.includes(model) || model === 'Grant') {
        ended.add(payload.grantId ?? payload.jti);
        this.delete(key);
      }
    }
    return [...ended];
  }

  adapter() {
    return (model) => new Adapter(this, model);
  }
}

class Adapter {
  constructor(journal, model) {
    this.journal = journal;
    this.model = model;
  }

  #key(id) {
    return `${this.model}:${id}`;
  }

  #findBy(name, value) {
    for (const [key, payload] of this.journal) {
      if (key.startsWith(`${this.model}:`) && payload[name] === value) return payload;
    }
    return undefined;
  }

  async upsert(id, payload, expiresIn) {
    this.journal.set(this.#key(id), payload, expiresIn ? Date.now() + expiresIn * 1000 : null);
  }

  async find(id) {
    return this.journal.get(this.#key(id));
  }

  async findByUid(uid) {
    return this.#findBy('uid', uid);
  }

  async findByUserCode(userCode) {
    return this.#findBy('userCode', userCode);
  }

  async consume(id) {
    const key = this.#key(id);
    const payload = this.journal.get(key);
    if (payload) {
      const consumed = { ...payload, consumed: Math.floor(Date.now() / 1000) };
      this.journal.set(key, consumed, this.journal.expiry(key));
    }
  }

  async destroy(id) {
    this.journal.delete(this.#key(id));
  }

  async revokeByGrantId(grantId) {
    for (const [key, payload] of this.journal) {
      const model = key.slice(0, key.indexOf(':'));
      if (GRANTABLE.includes(model) && payload.grantId === grantId) this.journal.delete(key);
    }
  }
}
