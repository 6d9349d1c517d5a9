/** How a drive's paths stand for buckets and keys, one for one or not at all. */

/** A place in storage: a bucket and the rest, '' for the bucket as a whole. */
export interface Spot {
  bucket: string;
  key: string;
}

/** What the user may reach: a bucket, or what begins with a prefix in it. */
export interface Right {
  name: string;
  prefix: string;
  mode: 'read' | 'read-write';
}

/** Return what a drive's path names; null for the top, where the buckets are. */
export function spotOf(path: string): Spot | null {
  const plain = path.replace(/^\/+|\/+$/g, '');
  if (!plain) {
    return null;
  }
  const slash = plain.indexOf('/');
  return slash < 0 ? { bucket: plain, key: '' } : { bucket: plain.slice(0, slash), key: plain.slice(slash + 1) };
}

/** Return the prefix of what lies in a folder. */
export function prefixOf(spot: Spot): string {
  return spot.key === '' ? '' : `${spot.key}/`;
}

/** Return the path of a key; a folder's has no slash at its end. */
export function pathOf(bucket: string, key: string): string {
  return key ? `${bucket}/${key.replace(/\/$/, '')}` : bucket;
}

/**
 * Whether a key (of an object, or a prefix that ends in "/") has a path of its own.
 *
 * Paths are normalized: empty parts, "." and ".." vanish, and so these keys would be
 * shown as something else. They are not shown at all.
 */
export function hasPath(key: string): boolean {
  const parts = key.replace(/\/$/, '').split('/');
  const isWhole = parts.every(part => part !== '' && part !== '.' && part !== '..');
  return isWhole && isUnicode(key) && !/[\0-\x1f\x7f]/.test(key);
}

function isUnicode(text: string): boolean {
  try {
    encodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * Return how a folder is listed: by which prefix, or which folders lead to what is shared.
 *
 * `null` if nothing there is the user's.
 */
export function viewOf(rights: Right[], spot: Spot): { prefix: string } | { folders: string[] } | null {
  const wanted = prefixOf(spot);
  const own = rights.filter(right => right.name === spot.bucket);
  if (own.some(right => wanted.startsWith(right.prefix))) {
    return { prefix: wanted };
  }
  const below = own.filter(right => right.prefix.startsWith(wanted));
  if (!below.length) {
    return null;
  }
  // A share of "runs/2026-" is seen in the folder "runs".
  const here = below.find(right => !right.prefix.slice(wanted.length).includes('/'));
  if (here) {
    return { prefix: here.prefix };
  }
  const next = below.map(right => wanted + right.prefix.slice(wanted.length).split('/')[0] + '/');
  return { folders: [...new Set(next)].sort() };
}

/** Whether the user may write a key. */
export function mayWrite(rights: Right[], bucket: string, key: string): boolean {
  return rights.some(right => right.name === bucket && right.mode === 'read-write' && key.startsWith(right.prefix));
}

/** Return the last part of a path. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** Return a name that is not taken: "a.txt", "a1.txt"; or by a word, "a-Copy1.txt". */
export function freeName(wanted: string, taken: ReadonlySet<string>, word = ''): string {
  if (!word && !taken.has(wanted)) {
    return wanted;
  }
  const dot = wanted.lastIndexOf('.');
  const [stem, ending] = dot > 0 ? [wanted.slice(0, dot), wanted.slice(dot)] : [wanted, ''];
  for (let number = 1; ; number += 1) {
    const name = `${stem}${word}${number}${ending}`;
    if (!taken.has(name)) {
      return name;
    }
  }
}
