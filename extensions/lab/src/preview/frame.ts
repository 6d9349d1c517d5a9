import { drawFailure, drawPage, drawParts, drawSheet, drawStuck, drawWaiting } from './draw';
import { Answered, Asked, Begin, PreviewObject } from './protocol';
import { formatOf, SCRIPTS } from './registry';
import { Place, Sheet } from './sheet';
import { FromWorker, ToWorker } from './worker';

const HEAD = 4096;
/** A worker that neither answers nor waits for bytes for so long is ended, in ms. */
const PATIENCE = 20_000;
/** This script's own address: the workers' lie beside it, of the same build. */
const HERE = new URL((document.currentScript as HTMLScriptElement).src);

/** The frame's own side: between the page, which has the bytes, and one worker. */
class Frame {
  constructor(
    readonly port: MessagePort,
    readonly object: PreviewObject,
    readonly neighbours: boolean
  ) {
    port.onmessage = ({ data }: MessageEvent<Answered>) => this.answered(data);
  }

  /** Find out what the object is, and have it read. */
  begin(): void {
    drawWaiting(this.object);
    const length = Math.min(HEAD, this.object.size);
    if (length === 0) {
      this.start(new Uint8Array());
    } else {
      this.port.postMessage({ id: 0, offset: 0, length } satisfies Asked);
    }
  }

  private start(head: Uint8Array<ArrayBuffer>): void {
    const format = this.object.size === 0 ? 'bytes' : formatOf(this.object.key, head);
    const script = new URL(`preview-${SCRIPTS[format]}.js${HERE.search}`, HERE).href;
    const start = new Blob([`importScripts(${JSON.stringify(script)});`], { type: 'text/javascript' });
    this.worker = new Worker(URL.createObjectURL(start));
    this.worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.heard(data);
    this.worker.onerror = event => {
      event.preventDefault();
      this.end('This object cannot be shown: reading it failed.');
    };
    this.send({ kind: 'begin', format, object: this.object, head, neighbours: this.neighbours });
    this.watch();
  }

  private heard(said: FromWorker): void {
    this.watch();
    switch (said.kind) {
      case 'ask':
        this.asked += 1;
        this.port.postMessage({ ...said, kind: undefined });
        break;
      case 'sheet':
        this.sheet = said.sheet;
        drawSheet(this.object, said.sheet, what => this.send({ kind: 'open', what }, this.watch()), this.turn);
        this.rest();
        break;
      case 'page':
        drawPage(said.page, this.turn);
        this.rest();
        break;
      case 'stuck':
        drawStuck(said.message);
        this.rest();
        break;
      case 'parts':
        drawParts(said.what, said.parts);
        this.rest();
        break;
      case 'failed':
        this.failed(said.what, said.message);
    }
  }

  private failed(what: string | null, message: string): void {
    this.rest();
    if (what === null) {
      drawFailure(this.object, message);
    } else {
      drawParts(what, [{ kind: 'text', title: what, text: message }]);
    }
  }

  private answered(answer: Answered): void {
    if (answer.id === 0) {
      if (answer.error !== undefined || !answer.bytes) {
        drawFailure(this.object, answer.error ?? 'This object cannot be read.');
      } else {
        this.start(new Uint8Array(answer.bytes));
      }
      return;
    }
    this.asked -= 1;
    this.watch();
    this.worker?.postMessage({ kind: 'answer', ...answer }, answer.bytes ? [answer.bytes] : []);
  }

  private readonly turn = (place: Place): void => {
    if (this.worker === null) {
      drawStuck('This preview was ended. Open it again to go on.');
    } else {
      this.send({ kind: 'turn', place }, this.watch());
    }
  };

  private send(message: ToWorker, _?: void): void {
    this.worker?.postMessage(message);
  }

  /** Give the worker its time once more; while bytes are on their way, any. */
  private watch(): void {
    this.rest();
    if (this.asked === 0) {
      const late = 'This object takes too long to read, so the preview was ended.';
      this.timer = window.setTimeout(() => this.end(late), PATIENCE);
    }
  }

  private rest(): void {
    window.clearTimeout(this.timer);
  }

  private end(message: string): void {
    this.rest();
    this.worker?.terminate();
    this.worker = null;
    if (this.sheet === null) {
      drawFailure(this.object, message);
    } else {
      drawStuck(message);
      drawParts('', [{ kind: 'text', title: 'Ended', text: message }]);
    }
  }

  private worker: Worker | null = null;
  private sheet: Sheet | null = null;
  private asked = 0;
  private timer = 0;
}

// Only in a frame without an origin is it safe to read what somebody made.
if (window.origin === 'null' && window.parent !== window) {
  window.addEventListener(
    'message',
    (event: MessageEvent<Begin>) => {
      if (event.source === window.parent && event.data?.landbridge === 'preview' && event.ports[0]) {
        document.documentElement.classList.toggle('is-dark', event.data.dark === true);
        new Frame(event.ports[0], event.data.object, event.data.neighbours).begin();
      }
    },
    { once: true }
  );
}
