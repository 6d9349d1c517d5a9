import { showErrorMessage } from '@jupyterlab/apputils';
import { UUID } from '@lumino/coreutils';

import { words } from '../gateway/refused';
import { choiceOf } from '../kit/resources/choice';

import * as api from './api';
import { chooseResources } from './ask';
import { asksFirst } from './sessions';
import { KernelView } from './types';
import { Watched } from './watched';

/** The kernelspec that asks first, of the same kernel as `name`; "" if there is none. */
export function askingName(watched: Watched): string {
  const specs = watched.context.specsManager.specs;
  const current = watched.kernelName || specs?.default || '';
  const name = `${current.split('.lb.')[0]}.lb.choose`;
  return specs?.kernelspecs[name] ? name : '';
}

/** Run a document's kernel on other resources; its old kernel works until then. */
export async function moveKernel(watched: Watched): Promise<void> {
  const name = askingName(watched);
  if (!name) {
    await showErrorMessage(
      'Resources cannot be chosen',
      `There is no "${watched.context.kernelDisplayName}" that runs as a job.`
    );
    return;
  }
  const isLive = watched.kernelId !== null && watched.view?.state !== 'dead';
  const remembered = watched.memory.read() ?? watched.view?.resources;
  const chosen = await chooseResources(`Resources for ${watched.context.name}`, isLive ? 'Move' : 'Start', remembered);
  if (chosen === null) {
    return;
  }
  await guarded('The kernel could not be started', async () => {
    await replaceSuccessor(watched);
    await api.start(chosen.kernelId, name, watched.context.path);
    watched.memory.write(chosen.choice);
    if (isLive) {
      watched.follow({ id: chosen.kernelId, name, view: null });
    } else {
      await watched.context.changeKernel({ id: chosen.kernelId });
    }
  });
}

/** Start the like of a kernel that is dead, in a new job. */
export async function startAgain(watched: Watched): Promise<void> {
  const name = watched.kernelName;
  const id = UUID.uuid4();
  await guarded('The kernel could not be started', async () => {
    if (asksFirst(name)) {
      await api.choose(id, choiceOf(watched.view?.resources ?? null, await api.options()));
    }
    await api.start(id, name, watched.context.path);
    await watched.context.changeKernel({ id });
  });
}

/** Call off a start, or end a kernel that is on its way. */
export async function callOff(watched: Watched): Promise<void> {
  await guarded('It could not be cancelled', async () => {
    if (watched.successor !== null) {
      await replaceSuccessor(watched);
    } else {
      await watched.context.shutdown();
    }
  });
}

/** End a kernel that waits to take a document over. */
async function replaceSuccessor(watched: Watched): Promise<void> {
  const waiting = watched.successor;
  watched.forget();
  if (waiting !== null) {
    await api.cancel(waiting.id);
  }
}

/** Let a kernel outlive idle times and its server for some hours; 0 for no longer. */
export async function keepKernel(watched: Watched, hours: number): Promise<KernelView | null> {
  const id = watched.kernelId;
  let view: KernelView | null = null;
  if (id !== null) {
    await guarded('It could not be kept', async () => {
      view = await api.keep(id, hours);
      watched.look();
    });
  }
  return view;
}

async function guarded(title: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    await showErrorMessage(title, words(error));
  }
}
