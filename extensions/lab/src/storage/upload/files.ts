/** Files as people give them: picked, dropped, or whole folders of either. */

/** A file and the name it shall have below the prefix, `folder/file` for folders. */
export interface Picked {
  file: File;
  name: string;
  /** Lets the file be read again after a reload, where the browser has such. */
  handle?: FileSystemFileHandle;
}

type AskingHandle = FileSystemFileHandle & {
  queryPermission?(options: { mode: 'read' }): Promise<PermissionState>;
  requestPermission?(options: { mode: 'read' }): Promise<PermissionState>;
};
type Items = DataTransferItem & { getAsFileSystemHandle?(): Promise<FileSystemHandle | null> };

/** What an <input type=file> holds. */
export function fromInput(list: FileList | null): Picked[] {
  return Array.from(list ?? [], file => ({ file, name: file.webkitRelativePath || file.name }));
}

/** Whether the browser can give handles, which outlive a reload. */
export function hasPicker(): boolean {
  return 'showOpenFilePicker' in window;
}

/** Ask for files by handles; none if the person thinks better of it. */
export async function pick(): Promise<Picked[]> {
  const ask = (window as unknown as { showOpenFilePicker(o: object): Promise<FileSystemFileHandle[]> })
    .showOpenFilePicker;
  let handles: FileSystemFileHandle[];
  try {
    handles = await ask.call(window, { multiple: true });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') {
      return [];
    }
    throw error;
  }
  return Promise.all(handles.map(async handle => ({ handle, file: await handle.getFile(), name: handle.name })));
}

/** The file behind a handle, if it may be read; `ask`: by a click, so ask for it. */
export async function reopen(handle: FileSystemFileHandle, ask: boolean): Promise<File | null> {
  const asking = handle as AskingHandle;
  let state = (await asking.queryPermission?.({ mode: 'read' })) ?? 'prompt';
  if (state === 'prompt' && ask) {
    state = (await asking.requestPermission?.({ mode: 'read' })) ?? 'denied';
  }
  return state === 'granted' ? handle.getFile() : null;
}

function entries(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  return new Promise((done, failed) => reader.readEntries(done, failed));
}

/** The handle of what is in a folder; none for names that the browser thinks unsafe. */
async function handleIn(folder: FileSystemHandle | null, entry: FileSystemEntry): Promise<FileSystemHandle | null> {
  if (folder?.kind !== 'directory') {
    return null;
  }
  const { getDirectoryHandle, getFileHandle } = folder as FileSystemDirectoryHandle;
  const get: (name: string) => Promise<FileSystemHandle> = entry.isFile ? getFileHandle : getDirectoryHandle;
  return get.call(folder, entry.name).catch(() => null);
}

/** All files of an entry. Handles alone would pass over names such as `12:30.csv`. */
async function* walk(entry: FileSystemEntry, path: string, handle: FileSystemHandle | null): AsyncGenerator<Picked> {
  const name = path + entry.name;
  if (handle?.kind === 'file') {
    const held = handle as FileSystemFileHandle;
    yield { file: await held.getFile(), name, handle: held };
  } else if (entry.isFile) {
    yield { file: await new Promise<File>((done, failed) => (entry as FileSystemFileEntry).file(done, failed)), name };
  } else {
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    // A reader gives a hundred at a time, and nothing at the end.
    for (let some = await entries(reader); some.length; some = await entries(reader)) {
      for (const child of some) {
        yield* walk(child, `${name}/`, await handleIn(handle, child));
      }
    }
  }
}

/** What was dropped, folders with all in them. Must be called within the event. */
export function fromDrop(data: DataTransfer): AsyncGenerator<Picked> {
  // The list of items is gone once the event is over: take hold of all of them now.
  const roots = Array.from(data.items as unknown as Items[])
    .filter(item => item.kind === 'file')
    .map(item => ({ handle: item.getAsFileSystemHandle?.(), entry: item.webkitGetAsEntry() }));
  return (async function* () {
    for (const { handle, entry } of roots) {
      if (entry) {
        yield* walk(entry, '', (await handle?.catch(() => null)) ?? null);
      }
    }
  })();
}
