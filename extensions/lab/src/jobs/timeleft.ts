import { Notification } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';

import { duration } from '../kit/words';

import * as api from './api';

const MINUTE = 60_000;
/** Warnings come this long before the end, in minutes. */
const WARN_AT = [15, 5];

/**
 * The time left of the server's job, in the top bar.
 *
 * The end is asked for once a minute, since an operator may move it; between
 * that the clock runs here.
 */
export class TimeLeft extends Widget {
  /** @param restored - before this, JupyterLab shows no notification to anybody. */
  constructor(restored: Promise<unknown>) {
    super();
    this.addClass('lb-TimeLeft');
    this.node.setAttribute('role', 'timer');
    this.hide();
    this._tick = window.setInterval(() => this.show_(), 10_000);
    this._ask = window.setInterval(() => void this.ask(), MINUTE);
    void restored.then(() => this.ask());
  }

  dispose(): void {
    window.clearInterval(this._tick);
    window.clearInterval(this._ask);
    super.dispose();
  }

  /** Read the job's end; on failure the last known one stands. */
  async ask(): Promise<void> {
    try {
      const job = await api.job();
      this._skew = Date.parse(job.now) - Date.now();
      this._ends = job.ends_at ? Date.parse(job.ends_at) : null;
      this._where = [job.node, job.job_id && `job ${job.job_id}`].filter(Boolean).join(', ');
    } catch (error) {
      console.warn('landbridge: the time left could not be read', error);
    }
    this.show_();
  }

  private show_(): void {
    if (this._ends === null) {
      this.hide();
      return;
    }
    const left = Math.max(0, this._ends - (Date.now() + this._skew));
    const label = `Time left: ${duration(left)}`;
    this.node.textContent = label;
    this.node.title = this._where ? `${label} (${this._where})` : label;
    this.node.dataset.urgent = left <= 5 * MINUTE ? 'now' : left <= 15 * MINUTE ? 'soon' : 'no';
    this.show();
    this.warn(left);
  }

  /** Warn once per mark; a server that starts with less than a mark skips it. */
  private warn(left: number): void {
    const due = WARN_AT.filter(mark => left <= mark * MINUTE);
    if (!due.length) {
      this._warned.clear();
      return;
    }
    const mark = Math.min(...due);
    if (this._warned.has(mark)) {
      return;
    }
    due.forEach(one => this._warned.add(one));
    Notification.warning(
      `This server's job ends in ${duration(left)}. Save your work: unsaved changes and running kernels end with it.`,
      { autoClose: false }
    );
  }

  private _ends: number | null = null;
  private _skew = 0;
  private _where = '';
  private _warned = new Set<number>();
  private _tick: number;
  private _ask: number;
}
