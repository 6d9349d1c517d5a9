import {
  Answered,
  Asked,
  Begin,
  LONGEST_READ,
  MOST_BYTES,
  MOST_READS,
  Neighbours,
  PreviewObject,
  Read
} from './protocol';

export { rangeReader, zarrNeighbours } from './reader';
export type { Neighbours, PreviewObject, Read } from './protocol';

/**
 * Shows objects in a frame that is of no origin and has no network.
 *
 * What an object holds is parsed and drawn in there only. This side hands out bytes,
 * a bounded number of them, whatever the frame asks for.
 */
export class Preview {
  /**
   * @param host - gets the frame as its only child
   * @param frameUrl - the service's page for it: `…/services/storage/preview`
   */
  constructor(
    readonly host: HTMLElement,
    readonly frameUrl: string
  ) {}

  /** Show an object instead of what is shown. */
  show(object: PreviewObject, read: Read, neighbours?: Neighbours): void {
    this.dispose();
    const frame = document.createElement('iframe');
    // No allow-same-origin: cookies, storage and this page are out of reach.
    frame.setAttribute('sandbox', 'allow-scripts');
    frame.setAttribute('referrerpolicy', 'no-referrer');
    frame.title = `Preview of ${object.key}`;
    frame.className = 'lb-Preview-frame';
    frame.style.cssText = 'width: 100%; height: 100%; border: 0; display: block';
    frame.src = this.frameUrl;
    const channel = new MessageChannel();
    frame.addEventListener('load', () => this.begin(frame, channel, object, neighbours !== undefined), { once: true });
    new Broker(channel.port1, read, neighbours);
    this._port = channel.port1;
    this._frame = frame;
    this.host.replaceChildren(frame);
  }

  /** Show nothing any more. */
  dispose(): void {
    this._port?.close();
    this._frame?.remove();
    this._port = this._frame = null;
  }

  private begin(frame: HTMLIFrameElement, channel: MessageChannel, object: PreviewObject, neighbours: boolean): void {
    const { bucket, key, size, type, etag } = object;
    const first: Begin = {
      landbridge: 'preview',
      object: { bucket, key, size, type, etag },
      dark: isDark(this.host),
      neighbours
    };
    // A frame without an origin cannot be named as a target.
    frame.contentWindow?.postMessage(first, '*', [channel.port2]);
  }

  private _frame: HTMLIFrameElement | null = null;
  private _port: MessagePort | null = null;
}

/** Answers a frame's requests for bytes, within limits that the frame cannot move. */
class Broker {
  constructor(
    readonly port: MessagePort,
    readonly read: Read,
    readonly neighbours?: Neighbours
  ) {
    port.onmessage = ({ data }: MessageEvent<Asked>) => void this.answer(data);
  }

  private async answer(asked: Asked): Promise<void> {
    const id = Number(asked?.id);
    const answer: Answered = { id };
    try {
      answer.bytes = await this.bytes(asked);
    } catch (error) {
      answer.error = error instanceof Error ? error.message : 'The object could not be read.';
    }
    this.port.postMessage(answer, answer.bytes ? [answer.bytes] : []);
  }

  private async bytes(asked: Asked): Promise<ArrayBuffer | null> {
    const { offset, length, neighbour, isPart } = asked;
    const least = isPart ? -LONGEST_READ : 0;
    const isRange = Number.isSafeInteger(offset) && offset >= least && Number.isSafeInteger(length) && length > 0;
    if (!isRange || length > LONGEST_READ) {
      throw new Error('A preview reads at most 16 MB at once.');
    }
    this._reads += 1;
    // Counted before it is read, so that many at once are no way around it.
    this._bytes += length;
    if (this._reads > MOST_READS || this._bytes > MOST_BYTES) {
      throw new Error('This preview has read as much as a preview may. Open it again to go on.');
    }
    if (neighbour === undefined) {
      return this.read(offset, length);
    }
    if (typeof neighbour !== 'string' || !this.neighbours) {
      throw new Error('There is nothing beside this object.');
    }
    const found = await (isPart
      ? this.neighbours.range(neighbour, offset, length)
      : this.neighbours.get(neighbour, length));
    this._bytes -= length - (found?.byteLength ?? 0);
    return found;
  }

  private _reads = 0;
  private _bytes = 0;
}

/** Whether text is light here, so that the frame shall be dark. */
function isDark(element: HTMLElement): boolean {
  const [red, green, blue] = (getComputedStyle(element).color.match(/[\d.]+/g) ?? []).map(Number);
  return 0.3 * red + 0.6 * green + 0.1 * blue > 128;
}
