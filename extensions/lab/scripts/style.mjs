// Makes one small stylesheet of the extension's own, which its build takes in:
// node scripts/style.mjs
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const LAB = dirname(dirname(fileURLToPath(import.meta.url)));

await build({
  absWorkingDir: LAB,
  entryPoints: ['style/index.css'],
  outfile: join('lib', 'style.css'),
  bundle: true,
  minify: true,
  target: 'es2022',
  logLevel: 'warning'
});
