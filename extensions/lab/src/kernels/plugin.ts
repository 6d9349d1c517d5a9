import { ILabShell, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import {
  IConnectionStatus,
  IKernelManager,
  IServerSettings,
  ISessionManager,
  ServiceManagerPlugin,
  Session
} from '@jupyterlab/services';
import { IStatusBar } from '@jupyterlab/statusbar';

import { addCommands, COMMANDS } from './commands';
import { Desk } from './desk';
import { AskingSessions } from './sessions';
import { StatusItem } from './statusitem';

const desk = new Desk();

/** Takes the place of JupyterLab's own session manager (see package.json). */
const sessions: ServiceManagerPlugin<Session.IManager> = {
  id: '@landbridge/lab:session-manager',
  description: 'Sessions that ask for resources before a kernel starts.',
  autoStart: true,
  provides: ISessionManager,
  requires: [IKernelManager],
  optional: [IServerSettings, IConnectionStatus],
  activate: (_: null, kernelManager, serverSettings, status) => {
    return new AskingSessions(wanted => desk.ask(wanted), {
      kernelManager,
      serverSettings,
      standby: () => !status?.isConnected || 'when-hidden'
    });
  }
};

const kernels: JupyterFrontEndPlugin<void> = {
  id: '@landbridge/lab:kernels',
  description: 'Kernels as batch jobs: resources, queue, and how they ended.',
  autoStart: true,
  optional: [ILabShell, IStatusBar, ICommandPalette],
  activate: (app, shell: ILabShell | null, bar: IStatusBar | null, palette: ICommandPalette | null) => {
    app.docRegistry.addWidgetExtension('Notebook', desk);
    addCommands(app, desk);
    Object.values(COMMANDS).forEach(command => palette?.addItem({ command, category: 'Kernel Operations' }));
    const item = new StatusItem();
    bar?.registerStatusItem('@landbridge/lab:kernel', { item, align: 'left', rank: 3 });
    shell?.currentChanged.connect((_, { newValue }) => item.show_(desk.of(newValue)));
  }
};

export default [sessions, kernels];
