// A store and a gateway before it, in memory, that fail where a test says so.
import { crc32 } from 'node:zlib';

import { Refused } from '../lib/gateway/refused.js';
import { Api } from '../lib/storage/api.js';

export const MEGABYTE = 2 ** 20;
export const PART = 8 * MEGABYTE;

/** As S3 writes a checksum. */
function encoded(bytes) {
  const four = Buffer.alloc(4);
  four.writeUInt32BE(crc32(bytes));
  return four.toString('base64');
}

/** What the store answers to one PUT: a status and a code, or that the line breaks. */
export const BROKEN = { status: 0, code: '' };
export const refusing = (status, code) => ({ status, code });

export class Store {
  objects = new Map();
  uploads = new Map();
  /** Each PUT that reached the store: its key, or `key#part`. */
  puts = [];
  /** The paths that were asked of the gateway. */
  asked = [];
  /** Makes a PUT fail: gets its name and how often it was tried; gives an answer or null. */
  fault = () => null;
  /** Comes before a call of the gateway (`when` is 'before') and after; may throw. */
  hook = async () => undefined;

  api = new Api(async (method, path, body) => {
    const [name, query] = path.split('?');
    this.asked.push(name);
    await this.hook('before', name, body);
    const answer = this.answer(`${method} ${name}`, body ?? Object.fromEntries(new URLSearchParams(query)));
    await this.hook('after', name, body);
    return answer;
  });

  tried(name) {
    return this.puts.filter(one => one === name).length;
  }

  upload(id) {
    const found = this.uploads.get(id);
    if (!found) {
      throw new Refused('There is no such upload.', 404, 'not-found');
    }
    return found;
  }

  mustBeFree({ key, overwrite }) {
    if (!overwrite && this.objects.has(key)) {
      throw new Refused('There is an object of this name already.', 409, 'conflict');
    }
  }

  answer(route, body) {
    switch (route) {
      case 'POST urls/upload':
        this.mustBeFree(body);
        return this.signed(body.key, body.crc32);
      case 'POST uploads': {
        this.mustBeFree(body);
        const id = `u${this.asked.length}`;
        this.uploads.set(id, { key: body.key, parts: new Map() });
        return { upload_id: id, part_size: PART, parts: Math.ceil(body.size / PART) };
      }
      case 'POST uploads/urls':
        this.upload(body.upload_id);
        return { urls: body.parts.map(one => this.signed(`${body.upload_id}#${one.number}`, one.crc32)) };
      case 'GET uploads/parts': {
        const parts = [...this.upload(body.upload_id).parts];
        return { parts: parts.map(([number, bytes]) => ({ number, etag: `e${number}`, size: bytes.length })) };
      }
      case 'POST uploads/complete': {
        const { key, parts } = this.upload(body.upload_id);
        this.mustBeFree(body);
        this.objects.set(key, Buffer.concat(body.parts.map(one => parts.get(one.number))));
        this.uploads.delete(body.upload_id);
        return { key, etag: 'whole' };
      }
      case 'POST uploads/abort':
        this.upload(body.upload_id);
        this.uploads.delete(body.upload_id);
        return null;
      case 'GET objects/head':
        if (!this.objects.has(body.key)) {
          throw new Refused('There is no such object.', 404, 'not-found');
        }
        return { key: body.key, size: this.objects.get(body.key).length };
      default:
        throw new Error(`No such route: ${route}`);
    }
  }

  signed(name, checksum) {
    const url = `http://store/s3/${encodeURIComponent(name)}?turn=${this.asked.length}`;
    return { url, method: 'PUT', headers: { 'x-amz-checksum-crc32': checksum } };
  }

  /** What a PUT is answered, after it was kept or not. */
  put(name, bytes, checksum) {
    this.puts.push(name);
    const failing = this.fault(name, this.tried(name));
    if (failing) {
      return failing;
    }
    if (encoded(bytes) !== checksum) {
      return refusing(400, 'BadDigest');
    }
    const [id, number] = name.split('#');
    if (!number) {
      this.objects.set(name, bytes);
    } else if (!this.uploads.has(id)) {
      return refusing(404, 'NoSuchUpload');
    } else {
      this.uploads.get(id).parts.set(Number(number), bytes);
    }
    return { status: 200, code: '', etag: `"e${number ?? ''}"` };
  }
}

/** The browser's own request, as far as an upload needs it, to this store. */
export function requestTo(store) {
  return class {
    upload = {};
    headers = {};
    ended = false;

    open(_method, url) {
      this.name = decodeURIComponent(new URL(url).pathname.split('/').at(-1));
    }

    setRequestHeader(name, value) {
      this.headers[name] = value;
    }

    getResponseHeader() {
      return this.etag;
    }

    async send(blob) {
      const bytes = Buffer.from(await blob.arrayBuffer());
      this.upload.onprogress?.({ loaded: bytes.length / 2 });
      await store.hook('sent', this.name);
      if (this.ended) {
        return;
      }
      const { status, code, etag } = store.put(this.name, bytes, this.headers['x-amz-checksum-crc32']);
      if (code === 'SILENT') {
        return;
      }
      Object.assign(this, { status, etag, responseText: `<Error><Code>${code}</Code></Error>` });
      this.end(status === 0 ? 'onerror' : 'onload');
    }

    abort() {
      this.end('onabort');
    }

    end(how) {
      if (!this.ended) {
        this.ended = true;
        this[how]?.();
        this.onloadend?.();
      }
    }
  };
}

/** A browser whose network is always just back: no try waits for its turn. */
export function browserWith(store) {
  globalThis.XMLHttpRequest = requestTo(store);
  globalThis.window = {
    location: { origin: 'http://store' },
    addEventListener: (_name, listener) => setImmediate(listener),
    removeEventListener: () => undefined
  };
}
