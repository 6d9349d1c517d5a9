import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import { Signal } from '@lumino/signaling';

import { relay } from '../gateway/server';

import { storageIcon } from './icons';
import { At } from './panel/browse';
import { PanelHost } from './panel/host';
import { Memory, StoragePanel } from './panel/panel';

const PLACE = 'landbridge-storage-place';

/** The place where the panel was, for this tab. */
const memory: Memory = {
  read(): At | null {
    try {
      return JSON.parse(sessionStorage.getItem(PLACE) ?? 'null') as At | null;
    } catch {
      return null; // somebody else's
    }
  },
  write(at: At): void {
    sessionStorage.setItem(PLACE, JSON.stringify(at));
  }
};

/** The storage panel in the sidebar. It asks nothing before it is first seen. */
export class StorageSidebar extends ReactWidget {
  constructor(private readonly panelHost: PanelHost) {
    super();
    this.id = 'landbridge-storage';
    this.addClass('lb-StorageSidebar');
    this.title.icon = storageIcon;
    this.title.caption = 'Storage';
    this.node.setAttribute('aria-label', 'Storage');
  }

  protected render(): JSX.Element {
    return (
      <UseSignal signal={this._seen}>
        {() => (this._wasSeen ? <StoragePanel send={relay} host={this.panelHost} memory={memory} /> : null)}
      </UseSignal>
    );
  }

  protected onAfterShow(): void {
    this._wasSeen = true;
    this._seen.emit();
  }

  private _wasSeen = false;
  private _seen = new Signal<this, void>(this);
}
