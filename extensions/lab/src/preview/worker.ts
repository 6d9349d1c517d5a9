import { Format } from './format';
import { Answered, PreviewObject } from './protocol';
import { Page, Part, Place, Sheet, Unreadable } from './sheet';
import { Source } from './source';

/** What the frame says to its worker. */
export type ToWorker =
  | { kind: 'begin'; format: string; object: PreviewObject; head: Uint8Array<ArrayBuffer>; neighbours: boolean }
  | { kind: 'open'; what: string }
  | { kind: 'turn'; place: Place }
  | ({ kind: 'answer' } & Answered);

/** What the worker says to its frame. */
export type FromWorker =
  | { kind: 'ask'; id: number; offset: number; length: number; neighbour?: string; isPart?: boolean }
  | { kind: 'sheet'; sheet: Sheet }
  | { kind: 'parts'; what: string; parts: Part[] }
  | { kind: 'page'; page: Page }
  /** The window of the table that was asked for cannot be shown; the other stays. */
  | { kind: 'stuck'; message: string }
  | { kind: 'failed'; what: string | null; message: string };

interface Scope {
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
}

/** Serve these formats in this worker: the whole of each worker script. */
export function serve(formats: Record<string, Format>): void {
  const scope = globalThis as unknown as Scope;
  const waiting = new Map<number, { resolve(found: ArrayBuffer | null): void; reject(error: Error): void }>();
  let last = 0;
  let format: Format | undefined;
  let source: Source | undefined;
  const fetch = (offset: number, length: number, neighbour?: string, isPart?: boolean): Promise<ArrayBuffer | null> =>
    new Promise((resolve, reject) => {
      last += 1;
      waiting.set(last, { resolve, reject });
      scope.postMessage({ kind: 'ask', id: last, offset, length, neighbour, isPart });
    });
  const fail = (what: string | null) => (error: unknown) => {
    scope.postMessage({ kind: 'failed', what, message: inWords(error) });
  };
  scope.onmessage = ({ data }) => {
    if (data.kind === 'answer') {
      const one = waiting.get(data.id);
      waiting.delete(data.id);
      if (data.error !== undefined) {
        one?.reject(new Unreadable(data.error));
      } else {
        one?.resolve(data.bytes ?? null);
      }
    } else if (data.kind === 'begin') {
      source = new Source(data.object, data.head, data.neighbours, fetch);
      format = formats[data.format];
      format
        .read(source)
        .then(sheet => scope.postMessage({ kind: 'sheet', sheet }, transferable(sheet.parts)))
        .catch(fail(null));
    } else if (data.kind === 'turn') {
      format!.page!(source!, data.place)
        .then(page => scope.postMessage({ kind: 'page', page }))
        .catch((error: unknown) => scope.postMessage({ kind: 'stuck', message: inWords(error) }));
    } else {
      const { what } = data;
      format!.open!(source!, what)
        .then(parts => scope.postMessage({ kind: 'parts', what, parts }))
        .catch(fail(what));
    }
  };
}

function transferable(parts: Part[]): Transferable[] {
  return parts.flatMap(part => (part.kind === 'bitmap' ? [part.bitmap] : []));
}

function inWords(error: unknown): string {
  if (error instanceof Unreadable) {
    return error.message;
  }
  const said = error instanceof Error ? error.message : String(error);
  return `This object cannot be shown: it is damaged, or is of a kind that the preview does not know. (${said.slice(0, 200)})`;
}
