/** The last part of a key or prefix, with the slash of a prefix. */
export function lastPart(key: string): string {
  const end = key.endsWith('/') ? key.length - 1 : key.length;
  return key.slice(key.lastIndexOf('/', end - 1) + 1);
}

/** The prefix above a prefix; '' above the first. */
export function above(prefix: string): string {
  return prefix.slice(0, prefix.lastIndexOf('/', prefix.length - 2) + 1);
}
