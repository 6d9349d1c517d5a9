import { ISessionContext } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import { DocumentRegistry, IDocumentWidget } from '@jupyterlab/docregistry';
import { DisposableDelegate, IDisposable } from '@lumino/disposable';
import { MessageLoop } from '@lumino/messaging';
import { ISignal, Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import { chooseResources, Chosen } from './ask';
import { Notice } from './notice';
import { settlePrompts } from './prompts';
import { Wanted } from './sessions';
import { Memory, Watched } from './watched';

const KEY = 'landbridge';

/** What a notebook's model has for its metadata. */
interface Metadata {
  getMetadata(key: string): unknown;
  setMetadata(key: string, value: unknown): void;
}

function hasMetadata(model: unknown): model is Metadata {
  const it = model as Partial<Metadata> | null;
  return typeof it?.getMetadata === 'function' && typeof it.setMetadata === 'function';
}

/** A document's memory in its metadata, under `landbridge.resources`. */
function memoryIn(context: DocumentRegistry.Context): Memory {
  const kept = (): Record<string, unknown> => {
    const value = hasMetadata(context.model) ? context.model.getMetadata(KEY) : null;
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  };
  return {
    read: () => kept().resources,
    write: choice => {
      if (hasMetadata(context.model)) {
        context.model.setMetadata(KEY, { ...kept(), resources: choice });
      }
    }
  };
}

const NO_MEMORY: Memory = { read: () => undefined, write: () => undefined };

function contextOf(widget: Widget | null): ISessionContext | null {
  const found = (widget as { sessionContext?: ISessionContext } | null)?.sessionContext;
  return found?.kernelChanged ? found : null;
}

/** All documents that have kernels, with what is known of these. */
export class Desk implements DocumentRegistry.WidgetExtension {
  /** Another kernel, or something new about one. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Watch a notebook's kernel and tell of it there. */
  createNew(panel: IDocumentWidget, context: DocumentRegistry.Context): IDisposable {
    const watched = this.watch(panel, context.sessionContext, memoryIn(context));
    const notice = new Notice(watched);
    // Not part of the panel's layout, which would make room for it.
    const attach = (): void => {
      if (panel.isAttached && !notice.isAttached && !notice.isDisposed) {
        Widget.attach(notice, panel.node);
      }
    };
    MessageLoop.installMessageHook(panel, (_, message) => {
      if (message.type === 'after-attach') {
        queueMicrotask(attach); // the panel counts as attached after its hooks
      }
      return true;
    });
    attach();
    const prompts = settlePrompts(panel, context.sessionContext);
    return new DisposableDelegate(() => {
      prompts.dispose();
      notice.dispose();
      watched.dispose();
    });
  }

  /** The kernel of a document or console; null for what has none. */
  of(widget: Widget | null): Watched | null {
    const context = contextOf(widget);
    if (widget === null || context === null) {
      return null;
    }
    return this._watched.get(context) ?? this.watch(widget, context, NO_MEMORY);
  }

  /** Ask for the resources of a kernel that is about to start. */
  async ask(wanted: Wanted): Promise<string | null> {
    const watched = this.at(wanted.document);
    const chosen: Chosen | null = await chooseResources(
      `Resources for ${PathExt.basename(wanted.document)}`,
      'Start',
      watched?.memory.read()
    );
    if (chosen !== null) {
      watched?.memory.write(chosen.choice);
    }
    return chosen?.kernelId ?? null;
  }

  private at(path: string): Watched | null {
    for (const watched of this._watched.values()) {
      if (watched.context.path === path) {
        return watched;
      }
    }
    return null;
  }

  private watch(widget: Widget, context: ISessionContext, memory: Memory): Watched {
    const watched = new Watched(context, memory, () => widget.isVisible && !document.hidden);
    this._watched.set(context, watched);
    watched.changed.connect(() => this._changed.emit());
    context.disposed.connect(() => this._watched.delete(context));
    return watched;
  }

  private _changed = new Signal<this, void>(this);
  private _watched = new Map<ISessionContext, Watched>();
}
