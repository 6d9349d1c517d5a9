import { Neighbours, Read } from './protocol';

/** Signs a URL by which a page may fetch an object for a short time. */
export type Sign = (key: string) => Promise<{ url: string; expires: string }>;

const MARGIN = 5_000;

/**
 * Return a reader of ranges of an object, straight from the store.
 *
 * Reads reject with what is wrong, in words. If `etag` is given, an object that was
 * changed meanwhile is not read on: parts of two contents make no sense together.
 */
export function rangeReader(sign: Sign, key: string, etag = ''): Read {
  let signed: Promise<{ url: string; expires: string }> | null = null;
  let until = 0;
  return async (offset, length) => {
    if (signed === null || Date.now() > until) {
      signed = sign(key);
      until = Date.parse((await signed).expires) - MARGIN;
    }
    const headers = { Range: `bytes=${offset}-${offset + length - 1}` };
    const answer = await asked((await signed).url, headers);
    if (answer.status === 416) {
      return new ArrayBuffer(0);
    }
    if (answer.status !== 206 && answer.status !== 200) {
      signed = null;
      throw new Error(answer.status === 404 ? 'This object is gone.' : `The store answered ${answer.status}.`);
    }
    const found = answer.headers.get('ETag') ?? '';
    if (etag && found && bare(found) !== bare(etag)) {
      throw new Error('This object was changed meanwhile. Open it again.');
    }
    return answer.status === 206 ? answer.arrayBuffer() : firstBytes(answer, offset, length);
  };
}

/** Return the neighbours of an object: as a whole if they are small, or in part. */
export function zarrNeighbours(sign: Sign): Neighbours {
  const fetched = async (key: string, range: string): Promise<Response | null> => {
    const headers = { Range: `bytes=${range}` };
    const answer = await asked((await sign(key)).url, headers);
    if (answer.status === 404 || answer.status === 416) {
      return null;
    }
    if (!answer.ok) {
      throw new Error(`The store answered ${answer.status}.`);
    }
    return answer;
  };
  return {
    async get(key, most) {
      const answer = await fetched(key, `0-${most - 1}`);
      const told = answer?.headers.get('Content-Range')?.split('/')[1] ?? answer?.headers.get('Content-Length');
      if (Number(told ?? 0) > most) {
        await answer?.body?.cancel();
        throw new Error('A part of this array is too large for a preview.');
      }
      return answer && answer.arrayBuffer();
    },
    async range(key, offset, length) {
      const answer = await fetched(key, offset < 0 ? `${offset}` : `${offset}-${offset + length - 1}`);
      if (answer !== null && answer.status !== 206) {
        await answer.body?.cancel();
        throw new Error('This store sends no parts of objects.');
      }
      return answer && answer.arrayBuffer();
    }
  };
}

function asked(url: string, headers: Record<string, string>): Promise<Response> {
  return fetch(url, { headers, credentials: 'omit', referrerPolicy: 'no-referrer' }).catch(() => {
    throw new Error('The store does not answer. Check your network and try again.');
  });
}

/** A store that knows no ranges sends all: take what is asked for and hang up. */
async function firstBytes(answer: Response, offset: number, length: number): Promise<ArrayBuffer> {
  const reader = answer.body!.getReader();
  const taken = new Uint8Array(length);
  let [position, filled] = [0, 0];
  while (filled < length) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    const piece = value.subarray(Math.max(0, offset - position)).subarray(0, length - filled);
    taken.set(piece, filled);
    filled += piece.length;
    position += value.length;
  }
  await reader.cancel();
  return taken.buffer.slice(0, filled);
}

function bare(etag: string): string {
  return etag.replace(/^W\//, '').replace(/"/g, '');
}
