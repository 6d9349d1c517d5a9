import { ISessionContext, Notification } from '@jupyterlab/apputils';
import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { Refused } from '../gateway/refused';
import { Repeat } from '../kit/repeat';
import { duration } from '../kit/words';

import * as api from './api';
import { isJob } from './sessions';
import { KernelView, State } from './types';

const MINUTE = 60_000;
/** Warnings come this long before a kernel's end, in minutes. */
const WARN_AT = [15, 5];
const SOON = 1500;
const LATE = 5000;
const STEADY = 15_000;
const ON_THE_WAY: ReadonlySet<State> = new Set<State>(['submitting', 'queued', 'starting', 'ending']);

/** What a document remembers; nothing for what is no document. */
export interface Memory {
  read(): unknown;
  write(choice: unknown): void;
}

/** A kernel that waits to take the place of a document's kernel. */
export interface Successor {
  id: string;
  name: string;
  view: KernelView | null;
}

/** Whether a kernel in this state is on its way, so that it can be called off. */
export function isOnTheWay(view: KernelView | null): boolean {
  return view !== null && ON_THE_WAY.has(view.state);
}

/**
 * A document's kernel as its job: what is known of it now, and of its successor.
 *
 * The server is asked often while something is about to happen, else four times a
 * minute, and not at all while the tab is hidden or the kernel is no job.
 */
export class Watched implements IDisposable {
  constructor(
    readonly context: ISessionContext,
    readonly memory: Memory,
    readonly isSeen: () => boolean
  ) {
    context.kernelChanged.connect(this.another, this);
    context.statusChanged.connect(this.look, this);
    context.disposed.connect(this.dispose, this);
    this.another();
    void context.ready.then(() => this.resume());
  }

  /** The kernel's job; null if it is none, or nothing is known yet. */
  view: KernelView | null = null;
  successor: Successor | null = null;
  /** How much later the server's clock is than the browser's, in milliseconds. */
  skew = 0;

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  get kernelId(): string | null {
    return this.context.session?.kernel?.id ?? null;
  }

  get kernelName(): string {
    return (
      this.context.session?.kernel?.name || this.context.prevKernelName || this.context.kernelPreference.name || ''
    );
  }

  /** Milliseconds until the job's time limit; null for none. */
  get left(): number | null {
    const ends = this.view?.state === 'running' ? this.view.ends_at : null;
    return ends === null ? null : Math.max(0, Date.parse(ends) - Date.now() - this.skew);
  }

  /** Ask the server now. */
  look(): void {
    this._repeat.now();
  }

  /** Show a kernel that waits, and change to it once it runs. */
  follow(successor: Successor): void {
    this.successor = successor;
    localStorage.setItem(this.key(), JSON.stringify({ id: successor.id, name: successor.name }));
    this.look();
    this._changed.emit();
  }

  /** Forget the kernel that waits. */
  forget(): void {
    this.successor = null;
    localStorage.removeItem(this.key());
    this._changed.emit();
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      this._repeat.dispose();
      Signal.clearData(this);
    }
  }

  /** Go on waiting for a kernel that waited when the page was left. */
  private resume(): void {
    try {
      const kept: unknown = JSON.parse(localStorage.getItem(this.key()) ?? 'null');
      const { id, name } = (kept ?? {}) as Record<string, unknown>;
      if (typeof id === 'string' && typeof name === 'string') {
        this.follow({ id, name, view: null });
      }
    } catch {
      localStorage.removeItem(this.key()); // it was not ours
    }
  }

  private key(): string {
    return `landbridge-successor:${location.pathname.split('/lab')[0]}:${this.context.path}`;
  }

  private another(): void {
    this.view = null;
    this._warned.clear();
    this._changed.emit();
    this.look();
  }

  private async isJob(): Promise<boolean> {
    await this.context.specsManager.ready;
    return isJob(this.context.specsManager.specs?.kernelspecs[this.kernelName]);
  }

  private async read(): Promise<number | null> {
    const id = this.kernelId;
    if (id !== null && (await this.isJob())) {
      const view = await api.kernel(id).catch(goneIsNull);
      if (id === this.kernelId) {
        this.show(view);
      }
    }
    if (this.successor !== null) {
      await this.readSuccessor(this.successor);
    }
    if (this.successor !== null || isOnTheWay(this.view)) {
      return SOON;
    }
    if (this.view?.state === 'dead') {
      // What is known at first may be that it was killed; its job's end says why.
      return Date.now() - this._deadSince < MINUTE ? LATE : null;
    }
    return this.view?.state === 'running' ? STEADY : null;
  }

  private show(view: KernelView | null): void {
    const before = this.view;
    this.view = view;
    this.skew = view ? Date.parse(view.now) - Date.now() : 0;
    this._changed.emit();
    if (view?.state === 'dead' && before?.state !== 'dead') {
      this._deadSince = Date.now();
    }
    if (view?.state === 'dead' && before !== null && before.state !== 'dead' && !this.isSeen()) {
      Notification.error(`${this.context.name}: ${view.failure?.title ?? view.message}`, {
        autoClose: false
      });
    }
    this.warn();
  }

  private async readSuccessor(successor: Successor): Promise<void> {
    const view = await api.kernel(successor.id).catch(goneIsNull);
    if (this.successor !== successor) {
      return;
    }
    if (view === null) {
      this.forget();
    } else if (view.state === 'running') {
      this.forget();
      await this.context.changeKernel({ id: successor.id });
      Notification.success(`${this.context.name} runs on ${view.resources?.summary ?? 'its new job'} now.`);
    } else {
      successor.view = view;
      this._changed.emit();
    }
  }

  /** Warn once per mark; a kernel that starts with less than a mark skips it. */
  private warn(): void {
    const left = this.left;
    const due = left === null ? [] : WARN_AT.filter(mark => left <= mark * MINUTE);
    const mark = Math.min(...due);
    if (left === null || !due.length || this._warned.has(mark)) {
      return;
    }
    due.forEach(one => this._warned.add(one));
    if (!this.isSeen()) {
      Notification.warning(
        `The kernel of ${this.context.name} ends in ${duration(left)}, with all that it holds in memory.`,
        { autoClose: false }
      );
    }
  }

  private _repeat = new Repeat(() => this.read());
  private _changed = new Signal<this, void>(this);
  private _warned = new Set<number>();
  private _deadSince = 0;
  private _isDisposed = false;
}

function goneIsNull(error: unknown): null {
  if (error instanceof Refused && error.status === 404) {
    return null;
  }
  throw error;
}
