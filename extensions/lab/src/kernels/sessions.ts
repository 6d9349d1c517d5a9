import { Dialog } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import { Kernel, KernelSpec, Session, SessionManager } from '@jupyterlab/services';

import * as api from './api';

/** A kernel that is about to start, whose user is to choose first. */
export interface Wanted {
  /** The kernelspec's name. */
  name: string;
  /** Of the document that it is for. */
  document: string;
}

/** Asks the user, keeps the choice on the server and answers the drawn kernel id. */
export type Ask = (wanted: Wanted) => Promise<string | null>;

/** A kernel as starts name it; the server takes an id as well. */
type Wish = Partial<Pick<Kernel.IModel, 'name' | 'id'>>;

/** The name of a kernelspec that asks first ends so. */
const CHOOSE = '.lb.choose';

/** Whether a kernel of this name asks for resources first. */
export function asksFirst(name: string | undefined): name is string {
  return name !== undefined && name.endsWith(CHOOSE);
}

/** Whether kernels of this spec run as jobs. */
export function isJob(spec: KernelSpec.ISpecModel | undefined | null): boolean {
  return typeof spec?.metadata?.['landbridge'] === 'object';
}

/** Nothing was chosen; no kernel starts, and no error is to be shown. */
export class NotChosen extends Error {
  constructor() {
    super('No resources were chosen.');
  }
}

/**
 * Sessions as Jupyter has them, but kernels whose user is to choose ask first.
 *
 * Launcher, kernel picker, consoles and whatever else starts a session come through
 * here. Ids are drawn in the browser: what was chosen waits under it on the server.
 */
export class AskingSessions extends SessionManager {
  constructor(
    private readonly ask: Ask,
    options: SessionManager.IOptions
  ) {
    super(options);
  }

  async startNew(
    wanted: Session.ISessionOptions,
    connecting?: Omit<Session.ISessionConnection.IOptions, 'model' | 'connectToKernel' | 'serverSettings'>
  ): Promise<Session.ISessionConnection> {
    const kernel: Wish = wanted.kernel ?? {};
    if (!asksFirst(kernel.name) || kernel.id) {
      return super.startNew(wanted, connecting);
    }
    // The path of a new session is drawn, too, in the document's directory.
    const document = PathExt.join(PathExt.dirname(wanted.path), wanted.name);
    const id = await this.drawn({ name: kernel.name, document });
    const drawn: Wish = { name: kernel.name, id };
    return super.startNew({ ...wanted, kernel: drawn }, connecting);
  }

  connectTo(
    options: Omit<Session.ISessionConnection.IOptions, 'connectToKernel' | 'serverSettings'>
  ): Session.ISessionConnection {
    const session = super.connectTo(options);
    const change = session.changeKernel.bind(session);
    session.changeKernel = async wish => {
      if (!asksFirst(wish.name) || wish.id) {
        return change(wish);
      }
      const id = await this.drawn({ name: wish.name, document: session.path });
      await api.start(id, wish.name, session.path);
      return change({ id });
    };
    return session;
  }

  private async drawn(wanted: Wanted): Promise<string> {
    const id = await this.ask(wanted);
    if (id === null) {
      hushNextDialog();
      throw new NotChosen();
    }
    return id;
  }
}

/**
 * JupyterLab tells every start that failed in a dialog, also one that was called off.
 * It is made as soon as the failure arrives, and closed here before it is drawn.
 */
function hushNextDialog(): void {
  const close = (_: unknown, dialog: Dialog<unknown>): void => {
    stop();
    void Promise.resolve().then(() => dialog.reject());
  };
  const stop = (): void => {
    Dialog.tracker.widgetAdded.disconnect(close);
  };
  Dialog.tracker.widgetAdded.connect(close);
  window.setTimeout(stop, 200);
}
