import { Refused } from './refused';
import { Send } from './send';

type Json<Content> = Content extends { content: { 'application/json': infer Body } } ? Body : never;
type Parameters<Operation, Place extends string> = Operation extends { parameters: { [at in Place]?: infer Values } }
  ? NonNullable<Values>
  : never;
/** What a call may be given in one place: nothing that it does not have. */
type Given<Name extends string, Values> = [Values] extends [never]
  ? unknown
  : Partial<Values> extends Values
    ? { [name in Name]?: Values }
    : { [name in Name]: Values };

/** What a call needs: the values of its path and query, and its body. */
export type Asked<Operation> = Given<'path', Parameters<Operation, 'path'>> &
  Given<'query', Nullable<Parameters<Operation, 'query'>>> &
  Given<'body', Operation extends { requestBody: infer Body } ? Json<Body> : never>;
/** Of a query, null and '' are left out as undefined is. */
type Nullable<Values> = { [name in keyof Values]: Values[name] | null };

/** What a call answers. */
export type Answer<Operation> = Operation extends { responses: infer Responses }
  ? Json<Responses[Extract<keyof Responses, 200 | 201 | 202 | 203>]>
  : never;

/** One call of a service; rejects with `Refused`. */
export type Rest<Operations> = <Name extends keyof Operations>(
  name: Name,
  ...asked: unknown extends Asked<Operations[Name]> ? [] : [Asked<Operations[Name]>]
) => Promise<Answer<Operations[Name]>>;

/** All entries of a list, page by page. */
export async function all<Page extends { next: string | null }, Entry>(
  read: (cursor: string | null) => Promise<Page>,
  entries: (page: Page) => Entry[]
): Promise<Entry[]> {
  const gathered: Entry[] = [];
  let cursor: string | null = null;
  do {
    const page: Page = await read(cursor);
    gathered.push(...entries(page));
    cursor = page.next;
  } while (cursor);
  return gathered;
}

interface Loose {
  path?: Record<string, string>;
  query?: Record<string, string | number | boolean | null | undefined>;
  body?: unknown;
}

function encode(value: unknown): string {
  try {
    return encodeURIComponent(String(value));
  } catch {
    throw new Refused('This name is not Unicode, and no browser can ask for it.', 400, 'key-refused');
  }
}

/** The calls of a service, of the types and the table that are made from its OpenAPI document. */
export function rest<Operations>(
  table: { readonly [name in keyof Operations]: readonly [method: string, path: string] },
  send: Send
): Rest<Operations> {
  return async (name, ...[asked]) => {
    const [method, pattern] = table[name];
    const { path, query, body } = (asked ?? {}) as Loose;
    const at = pattern.replace(/\{(\w+)\}/g, (_, part: string) => encode(path?.[part]));
    const values = Object.entries(query ?? {})
      .filter(([, value]) => value !== '' && value !== null && value !== undefined)
      .map(([part, value]) => `${part}=${encode(value)}`);
    return (await send(method, values.length ? `${at}?${values.join('&')}` : at, body)) as Answer<
      Operations[typeof name]
    >;
  };
}
