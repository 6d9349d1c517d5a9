import { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { FileBrowser, FileDialog, IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { treeViewIcon } from '@jupyterlab/ui-components';

import { relay } from '../../gateway/server';
import { count, size, visible } from '../../kit/words';
import { PanelHost } from '../panel/host';
import { Count } from '../types';

import { begin, followAll } from './copies';
import { BucketDrive, DRIVE } from './drive';
import { insertable } from './insert';
import { Kind } from './models';
import { acceptDrops, insertCell, OBJECT_TYPE } from './notebooks';
import { Objects } from './objects';
import { pathOf } from './paths';

const REFRESH = 60_000;

/** Everything of JupyterLab that the storage panel may use; adds the drive. */
export function labHost(
  app: JupyterFrontEnd,
  manager: IDocumentManager | null,
  browsers: IFileBrowserFactory | null
): PanelHost {
  const kindOf = (path: string): Kind => {
    const [found] = app.docRegistry.getFileTypesForPath(path);
    return {
      type: found?.contentType === 'notebook' ? 'notebook' : 'file',
      format: found?.fileFormat ?? 'text',
      mimetype: found?.mimeTypes[0] ?? 'application/octet-stream'
    };
  };
  const drive = new BucketDrive(new Objects(relay), kindOf, message => Notification.info(message), sure);
  app.serviceManager.contents.addDrive(drive);
  acceptDrops(app);
  void app.restored.then(followAll);
  const host: PanelHost = {
    insertCode: (bucket, key) => void insertCell(app, insertable(bucket, key)),
    dragData: (bucket, [key]) => ({
      'text/plain': insertable(bucket, key),
      [OBJECT_TYPE]: JSON.stringify({ bucket, key })
    })
  };
  if (browsers) {
    let browser: FileBrowser | null = null;
    host.openDrive = (bucket, prefix) => {
      browser ??= openBrowser(app, browsers);
      app.shell.activateById(browser.id);
      void browser.model.cd(`/${pathOf(bucket, prefix)}`);
    };
  }
  if (manager) {
    host.copyToHome = (bucket, keys) => void copyToHome(manager, bucket, keys);
    host.copyFromHome = (bucket, prefix) => void copyFromHome(manager, bucket, prefix);
  }
  return host;
}

/** What the deletion of a folder would take, as the panel's own question tells it. */
async function sure(folder: string, holds: Count): Promise<boolean> {
  const what = `${holds.complete ? '' : 'at least '}${count(holds.objects, 'object')}, ${size(holds.bytes)}`;
  const asked = await showDialog({
    title: `Delete all in ${visible(folder)}?`,
    body: `This deletes ${what}. It cannot be undone.`,
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: 'Delete all' })]
  });
  return asked.button.accept;
}

/** A file browser of the drive, in the sidebar from its first use on. */
function openBrowser(app: JupyterFrontEnd, browsers: IFileBrowserFactory): FileBrowser {
  const browser = browsers.createFileBrowser('landbridge-buckets', {
    driveName: DRIVE,
    refreshInterval: REFRESH,
    restore: false
  });
  browser.title.icon = treeViewIcon;
  browser.title.caption = 'Buckets as files';
  browser.node.setAttribute('aria-label', 'Buckets as files');
  app.shell.add(browser, 'left', { rank: 311, type: 'Buckets' });
  return browser;
}

async function copyToHome(manager: IDocumentManager, bucket: string, keys: string[]): Promise<void> {
  const asked = await FileDialog.getExistingDirectory({ manager, title: 'Copy into which folder?' });
  const folder = asked.button.accept ? asked.value?.[0]?.path : undefined;
  if (folder !== undefined && isHome(manager, folder)) {
    await begin({ kind: 'to-home', bucket, names: keys, target: folder, overwrite: false });
  }
}

async function copyFromHome(manager: IDocumentManager, bucket: string, prefix: string): Promise<void> {
  const what = await showDialog({
    title: `Copy to ${bucket}/${prefix}`,
    body: 'What shall be copied from your home directory?',
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'A folder…' }), Dialog.okButton({ label: 'Files…' })]
  });
  if (!what.button.accept) {
    return;
  }
  const asked =
    what.button.label === 'Files…'
      ? await FileDialog.getOpenFiles({ manager, title: 'Copy which files?' })
      : await FileDialog.getExistingDirectory({ manager, title: 'Copy which folder?' });
  const names = (asked.button.accept ? (asked.value ?? []) : []).map(one => one.path);
  if (names.length && names.every(name => isHome(manager, name))) {
    await begin({ kind: 'from-home', bucket, names, target: prefix, overwrite: false });
  }
}

/** Whether a path is of the notebook server's own files, not of another drive. */
function isHome(manager: IDocumentManager, path: string): boolean {
  const isOurs = manager.services.contents.driveName(path) === '';
  if (!isOurs) {
    Notification.error('Choose a place in your home directory.');
  }
  return isOurs;
}
