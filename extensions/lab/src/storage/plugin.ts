import { ILayoutRestorer, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';

import { gatewayPath } from '../gateway/server';

import { labHost } from './drive/host';
import { StorageSidebar } from './sidebar';

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

export default [storage];
