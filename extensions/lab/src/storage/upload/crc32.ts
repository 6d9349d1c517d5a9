/** CRC-32 as S3 wants it: eight bytes at a time by eight tables. */

const TABLES = ((): Uint32Array[] => {
  const tables = Array.from({ length: 8 }, () => new Uint32Array(256));
  for (let i = 0; i < 256; i++) {
    let value = i;
    for (let bit = 0; bit < 8; bit++) {
      value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
    }
    tables[0][i] = value;
  }
  for (let i = 0; i < 256; i++) {
    for (let n = 1; n < 8; n++) {
      const before = tables[n - 1][i];
      tables[n][i] = tables[0][before & 0xff] ^ (before >>> 8);
    }
  }
  return tables;
})();

/** Go on with a checksum: `crc` is what came before, 0 at the start. */
export function crc32(bytes: Uint8Array, crc = 0): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES;
  let value = ~crc;
  let i = 0;
  for (; i + 8 <= bytes.length; i += 8) {
    value ^= bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24);
    value =
      t7[value & 0xff] ^
      t6[(value >>> 8) & 0xff] ^
      t5[(value >>> 16) & 0xff] ^
      t4[value >>> 24] ^
      t3[bytes[i + 4]] ^
      t2[bytes[i + 5]] ^
      t1[bytes[i + 6]] ^
      t0[bytes[i + 7]];
  }
  for (; i < bytes.length; i++) {
    value = t0[(value ^ bytes[i]) & 0xff] ^ (value >>> 8);
  }
  return ~value >>> 0;
}

/** Base64 of its four bytes, the highest first. */
export function encoded(crc: number): string {
  return btoa(String.fromCharCode(crc >>> 24, (crc >>> 16) & 0xff, (crc >>> 8) & 0xff, crc & 0xff));
}

const STEP = 2 ** 20;

/** The checksum of a blob, read in steps that leave the page alive. */
export async function checksum(blob: Blob, signal?: AbortSignal): Promise<string> {
  let crc = 0;
  for (let at = 0; at < blob.size; at += STEP) {
    signal?.throwIfAborted();
    crc = crc32(new Uint8Array(await blob.slice(at, at + STEP).arrayBuffer()), crc);
  }
  return encoded(crc);
}
