// Builds the preview's frame and its workers into the storage service's static files:
// node scripts/preview.mjs [DIRECTORY]
import { copyFile, mkdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const LAB = dirname(dirname(fileURLToPath(import.meta.url)));
const WORKERS = ['light', 'parquet', 'arrow', 'zarr', 'hdf5', 'pdf'];

/** zarrita's own codecs make code from texts; `formats/zarr.ts` brings others. */
const noCodecs = {
  name: 'no-codecs',
  setup(it) {
    it.onResolve({ filter: /^numcodecs\// }, ({ path }) => ({ path, namespace: 'none' }));
    it.onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: 'export default null;' }));
  }
};

/** Build everything of the preview into `directory`. */
export async function buildPreview(directory) {
  await mkdir(directory, { recursive: true });
  await build({
    absWorkingDir: LAB,
    entryPoints: Object.fromEntries([
      ['preview-frame', 'src/preview/frame.ts'],
      ...WORKERS.map(name => [`preview-${name}`, `src/preview/workers/${name}.ts`])
    ]),
    outdir: directory,
    bundle: true,
    format: 'iife',
    minify: true,
    target: 'es2022',
    platform: 'browser',
    // Without an origin there is no credentialed fetch of modules: plain scripts it is.
    plugins: [noCodecs],
    logOverride: { 'empty-import-meta': 'silent' },
    legalComments: 'linked',
    logLevel: 'warning'
  });
  for (const name of ['preview.html', 'preview.css']) {
    await copyFile(join(LAB, 'style', name), join(directory, name));
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await buildPreview(resolve(process.argv[2] ?? join(LAB, '..', '..', 'services', 'storage', 'static')));
}
