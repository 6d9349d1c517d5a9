import { Notification } from '@jupyterlab/apputils';

import { words } from '../../gateway/refused';
import { call } from '../../gateway/server';
import { size } from '../../kit/words';

const SOON = 700;
const LATE = 5000;

/** A copy between the home directory and a bucket, done by the notebook server. */
export interface Copy {
  id: string;
  kind: 'to-home' | 'from-home';
  bucket: string;
  phase: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled' | 'interrupted';
  /** Where to: a folder of the home directory, or a prefix. */
  target: string;
  done: number;
  total: number | null;
  bytes_done: number;
  bytes_total: number | null;
  failed: number;
  failures: { name: string; message: string }[];
  message: string;
}

/** What is to be copied: keys and prefixes (that end in "/"), or paths of home. */
export interface NewCopy {
  kind: Copy['kind'];
  bucket: string;
  names: string[];
  target: string;
  overwrite: boolean;
}

const PATH = 'landbridge/storage/copies';

/** Begin a copy and show how far it is until it is over. */
export async function begin(copy: NewCopy): Promise<void> {
  try {
    follow(await call<Copy>(PATH, 'POST', copy));
  } catch (error) {
    Notification.error(words(error), { autoClose: false });
  }
}

/** Show again what was going on, or was interrupted, when the page was left. */
export async function followAll(): Promise<void> {
  const { copies } = await call<{ copies: Copy[] }>(PATH).catch(() => ({ copies: [] as Copy[] }));
  copies.filter(one => ['waiting', 'running', 'interrupted'].includes(one.phase)).forEach(follow);
}

function follow(copy: Copy): void {
  if (copy.phase === 'interrupted') {
    askToResume(copy);
    return;
  }
  const cancel = {
    label: 'Cancel',
    callback: (event: MouseEvent) => {
      event.preventDefault();
      void call(`${PATH}/${copy.id}/cancel`, 'POST', {});
    }
  };
  const id = Notification.emit(line(copy), 'in-progress', {
    autoClose: false,
    progress: share(copy),
    actions: [cancel]
  });
  void watch(copy, id);
}

async function watch(copy: Copy, id: string): Promise<void> {
  let shown = copy;
  while (shown.phase === 'waiting' || shown.phase === 'running') {
    await new Promise(resolve => setTimeout(resolve, document.hidden ? LATE : SOON));
    shown = await call<Copy>(`${PATH}/${copy.id}`).catch(() => shown);
    Notification.update({ id, message: line(shown), progress: share(shown) });
  }
  const kind =
    shown.phase === 'done' ? (shown.failed ? 'warning' : 'success') : shown.phase === 'cancelled' ? 'info' : 'error';
  Notification.update({
    id,
    message: line(shown),
    type: kind,
    progress: undefined,
    autoClose: kind === 'success' || kind === 'info' ? 5000 : false,
    actions: shown.failures.length ? [{ label: 'Why?', callback: () => tellFailures(shown) }] : []
  });
  if (shown.phase === 'interrupted') {
    askToResume(shown);
  }
}

function askToResume(copy: Copy): void {
  Notification.warning(line(copy), {
    autoClose: false,
    actions: [
      {
        label: 'Go on',
        callback: () => void call<Copy>(`${PATH}/${copy.id}/resume`, 'POST', {}).then(follow, () => undefined)
      },
      { label: 'Leave it', callback: () => void call(`${PATH}/${copy.id}/cancel`, 'POST', {}).catch(() => undefined) }
    ]
  });
}

function tellFailures(copy: Copy): void {
  const words = copy.failures.slice(0, 10).map(({ name, message }) => `${name}: ${message}`);
  Notification.error(words.join('\n'), { autoClose: false });
}

function share(copy: Copy): number | undefined {
  return copy.bytes_total ? Math.min(1, copy.bytes_done / copy.bytes_total) : undefined;
}

/** One line on a copy, as it is now. */
export function line(copy: Copy): string {
  const where =
    copy.kind === 'to-home' ? `from ${copy.bucket} to ${copy.target || 'home'}` : `to ${copy.bucket}/${copy.target}`;
  const files = copy.done === 1 ? '1 file' : `${copy.done.toLocaleString('en')} files`;
  const missing = copy.failed ? `, ${copy.failed} not` : '';
  switch (copy.phase) {
    case 'waiting':
      return `Waits to be copied ${where}.`;
    case 'running': {
      const of = copy.bytes_total === null ? '' : ` of ${size(copy.bytes_total)}`;
      return `Copying ${where}: ${files}, ${size(copy.bytes_done)}${of}.`;
    }
    case 'done':
      return `Copied ${files} ${where}${missing}.`;
    case 'cancelled':
      return `No longer copied ${where}; ${files} had been.`;
    case 'interrupted':
      return `The notebook server ended while copying ${where}; ${files} had been.`;
    default:
      return `Not copied ${where}: ${copy.message}`;
  }
}
