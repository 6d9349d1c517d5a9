// Makes the types and the client of each service from its OpenAPI document:
// node scripts/rest.mjs [--check]
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import openapiTS, { astToString } from 'openapi-typescript';
import { format } from 'prettier';

const LAB = dirname(dirname(fileURLToPath(import.meta.url)));
const DOCUMENTS = join(LAB, '..', '..', 'docs', 'reference');
/** The services whose documents there are. */
const SERVICES = ['storage'];

/** Return what a service's calls are: method, path, and whether the rest is a query. */
function operations(document) {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { operationId }]) => [operationId, [method.toUpperCase(), path.slice(1)]])
  );
}

/** Leave out the answers that are errors: all of one shape, which `Refused` reads. */
function withoutErrors(document) {
  for (const operation of Object.values(document.paths).flatMap(Object.values)) {
    operation.responses = Object.fromEntries(
      Object.entries(operation.responses).filter(([status]) => status.startsWith('2'))
    );
  }
  return document;
}

/** Return the module of one service: types of all that it sends and takes, and its calls. */
async function made(service, prettier) {
  const document = withoutErrors(JSON.parse(await readFile(join(DOCUMENTS, `${service}.openapi.json`), 'utf8')));
  // What has a default may be left out of a request, and is in every answer all the same:
  // the document says so by `required`.
  const types = astToString(await openapiTS(document, { defaultNonNullable: false }));
  const calls = JSON.stringify(Object.fromEntries(operations(document)));
  const text = `// Made by "npm run rest" from docs/reference/${service}.openapi.json.


${types}
/** Each call's method and path. */
export const OPERATIONS = ${calls} as const;
`;
  return format(text, { ...prettier, parser: 'typescript' });
}

const { prettier } = JSON.parse(await readFile(join(LAB, 'package.json'), 'utf8'));
for (const service of SERVICES) {
  const path = join(LAB, 'src', 'gateway', 'generated', `${service}.ts`);
  const text = await made(service, prettier);
  if (!process.argv.includes('--check')) {
    await writeFile(path, text);
  } else if (text !== (await readFile(path, 'utf8').catch(() => ''))) {
    console.error(`${path} is not what its document makes: npm run rest`);
    process.exitCode = 1;
  }
}
