// Builds the preview's frame and its workers into the storage service's static files:
// node scripts/preview.mjs [DIRECTORY]
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
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
  const { metafile } = await build({
    absWorkingDir: LAB,
    entryPoints: Object.fromEntries([
      ['preview-frame', 'src/preview/frame.ts'],
      ...WORKERS.map(name => [`preview-${name}`, `src/preview/workers/${name}.ts`])
    ]),
    outdir: directory,
    bundle: true,
    metafile: true,
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
  await copyFile(join(LAB, 'style', 'preview.css'), join(directory, 'preview.css'));
  // One build's scripts belong together: browsers keep them by their address.
  const hash = createHash('sha256');
  for (const path of Object.keys(metafile.outputs).sort()) {
    hash.update(await readFile(join(LAB, path)));
  }
  const page = await readFile(join(LAB, 'style', 'preview.html'), 'utf8');
  await writeFile(join(directory, 'preview.html'), page.replaceAll('BUILD', hash.digest('hex').slice(0, 16)));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await buildPreview(resolve(process.argv[2] ?? join(LAB, '..', '..', 'services', 'storage', 'static')));
}
