import {
  ILabShell,
  ILayoutRestorer,
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import {
  IConnectionStatus,
  IKernelManager,
  IServerSettings,
  ISessionManager,
  ServiceManagerPlugin,
  Session
} from '@jupyterlab/services';
import { IStatusBar } from '@jupyterlab/statusbar';

import { addCommands, COMMANDS } from './kernels/commands';
import { Desk } from './kernels/desk';
import { labHost } from './storage/drive/host';
import { JobsPanel } from './jobs/panel';
import { AskingSessions } from './kernels/sessions';
import { StatusItem } from './kernels/statusitem';
import { gatewayPath, StorageSidebar } from './storage/sidebar';
import { TimeLeft } from './jobs/timeleft';

// This module registers what the others make, and nothing else.

const desk = new Desk();

const timeLeft: JupyterFrontEndPlugin<void> = {
  id: '@landbridge/lab:time-left',
  description: "Shows the time left of the server's job in the top bar.",
  autoStart: true,
  activate: (app: JupyterFrontEnd) => {
    const widget = new TimeLeft(app.restored);
    widget.id = 'landbridge-time-left';
    app.shell.add(widget, 'top', { rank: 1000 });
  }
};

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

const jobs: JupyterFrontEndPlugin<void> = {
  id: '@landbridge/lab:jobs',
  description: 'Lists my jobs in the sidebar.',
  autoStart: true,
  optional: [ILayoutRestorer],
  activate: (app, restorer: ILayoutRestorer | null) => {
    const panel = new JobsPanel();
    app.shell.add(panel, 'left', { rank: 300, type: 'My jobs' });
    restorer?.add(panel, panel.id);
  }
};

const storage: JupyterFrontEndPlugin<void> = {
  id: '@landbridge/lab:storage',
  description: 'Buckets and objects in the sidebar.',
  autoStart: true,
  optional: [ILayoutRestorer, IDocumentManager, IFileBrowserFactory],
  activate: (
    app,
    restorer: ILayoutRestorer | null,
    manager: IDocumentManager | null,
    browsers: IFileBrowserFactory | null
  ) => {
    const gateway = gatewayPath();
    if (!gateway) {
      return;
    }
    const host = labHost(app, manager, browsers);
    const panel = new StorageSidebar({ ...host, previewUrl: `${gateway}services/storage/preview` });
    app.shell.add(panel, 'left', { rank: 310, type: 'Storage' });
    restorer?.add(panel, panel.id);
  }
};

export default [timeLeft, sessions, kernels, jobs, storage];
