// Lets node load what tsc writes for a bundler: modules, imported without ".js".
import { register } from 'node:module';

const hooks = `
export async function resolve(name, context, next) {
  const isOurs = name.startsWith('.') && !/\\.m?js$/.test(name);
  return next(isOurs ? name + '.js' : name, context);
}
export async function load(url, context, next) {
  const isOurs = url.includes('/extensions/lab/lib/');
  return next(url, isOurs ? { ...context, format: 'module' } : context);
}`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
