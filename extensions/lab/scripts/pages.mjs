// Builds what the gateway's own pages show of this extension: node scripts/pages.mjs [DIRECTORY]
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { buildPreview } from './preview.mjs';

const LAB = dirname(dirname(fileURLToPath(import.meta.url)));
const directory = resolve(process.argv[2] ?? join(LAB, '..', '..', 'services', 'storage', 'static'));

await build({
  absWorkingDir: LAB,
  entryPoints: [
    { in: 'src/pages/storage.tsx', out: 'storage' },
    { in: 'style/storage.css', out: 'storage' }
  ],
  outdir: directory,
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  legalComments: 'none',
  define: { 'process.env.NODE_ENV': '"production"' },
  logLevel: 'warning'
});
await buildPreview(directory);
