/**
 * Calls again and again while the tab can be seen, one call at a time.
 *
 * @param call - resolves to the milliseconds until the next call, null for none.
 */
export class Repeat {
  constructor(private readonly call: () => Promise<number | null>) {
    document.addEventListener('visibilitychange', this.seen);
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Call now, or as soon as the call that is under way has ended. */
  now(): void {
    window.clearTimeout(this._timer);
    if (this._isDisposed || document.hidden) {
      return;
    }
    if (this._busy) {
      this._again = true;
      return;
    }
    this._busy = true;
    void this.call().then(
      next => this.ended(next),
      error => {
        console.warn('landbridge: could not be read', error);
        this.ended(15_000);
      }
    );
  }

  dispose(): void {
    this._isDisposed = true;
    window.clearTimeout(this._timer);
    document.removeEventListener('visibilitychange', this.seen);
  }

  private ended(next: number | null): void {
    this._busy = false;
    const wait = this._again ? 0 : next;
    this._again = false;
    if (wait !== null && !this._isDisposed) {
      this._timer = window.setTimeout(() => this.now(), wait);
    }
  }

  private readonly seen = (): void => {
    if (document.hidden) {
      window.clearTimeout(this._timer);
    } else {
      this.now();
    }
  };

  private _timer = 0;
  private _busy = false;
  private _again = false;
  private _isDisposed = false;
}
