import { getDocument, PDFDataRangeTransport, PDFDocumentProxy } from 'pdfjs-dist';
import { WorkerMessageHandler } from 'pdfjs-dist/build/pdf.worker.mjs';

import { Format } from '../format';
import { bytes, cell, cut, Fact, Part, Sheet, Unreadable } from '../sheet';
import { Source } from '../source';

const MOST_PAGES = 5;
const WIDTH = 900;
const TALLEST = 3000;
const PIECE = 256 * 1024;
const LONGEST_TEXT = 5000;

// There is no worker below this one: both halves of the library run here.
(globalThis as { pdfjsWorker?: unknown }).pdfjsWorker = { WorkerMessageHandler };

/** A PDF's first pages, drawn without a document: no links, forms or scripts. */
export const pdf: Format = {
  async read(source: Source): Promise<Sheet> {
    const file = await opened(source);
    const parts: Part[] = [];
    const left: string[] = [];
    for (let number = 1; number <= Math.min(file.numPages, MOST_PAGES); number += 1) {
      parts.push(await page(file, number, left));
    }
    if (file.numPages > MOST_PAGES) {
      left.push(`Only the first ${MOST_PAGES} of ${file.numPages} pages are shown.`);
    }
    const facts: Fact[] = [
      ['Size', bytes(source.size)],
      ['Pages', String(file.numPages)]
    ];
    const { info } = await file.getMetadata().catch(() => ({ info: {} }));
    const title = (info as Record<string, unknown>).Title;
    if (typeof title === 'string' && title.trim()) {
      facts.push(['Title', cut(title)]);
    }
    return { format: 'PDF', facts, parts, left };
  }
};

async function opened(source: Source): Promise<PDFDocumentProxy> {
  const start = await source.start(PIECE);
  const transport = new PDFDataRangeTransport(source.size, start.slice());
  let failed: (error: unknown) => void = () => undefined;
  const failure = new Promise<never>((_, reject) => (failed = reject));
  transport.requestDataRange = (begin: number, end: number): void => {
    source.read(begin, Math.min(end, source.size) - begin).then(
      data => transport.onDataRange(begin, data.slice()),
      (error: unknown) => failed(error)
    );
  };
  const task = getDocument({
    range: transport,
    rangeChunkSize: PIECE,
    disableAutoFetch: true,
    disableStream: true,
    disableFontFace: true,
    useSystemFonts: true,
    useWorkerFetch: false,
    useWasm: false,
    enableXfa: false,
    stopAtErrors: false,
    maxImageSize: 20_000_000,
    verbosity: 0,
    CanvasFactory: Canvases,
    FilterFactory: NoFilters
  });
  try {
    return await Promise.race([task.promise, failure]);
  } catch (error) {
    if (error instanceof Unreadable) {
      throw error;
    }
    const { name, message } = error as Error;
    throw new Unreadable(
      name === 'PasswordException'
        ? 'This PDF is locked by a password.'
        : `This PDF is damaged or cut off: ${cell(message)}`
    );
  }
}

async function page(file: PDFDocumentProxy, number: number, left: string[]): Promise<Part> {
  const title = `Page ${number}`;
  try {
    const found = await file.getPage(number);
    const natural = found.getViewport({ scale: 1 });
    const scale = Math.min(WIDTH / natural.width, TALLEST / natural.height, 4);
    const viewport = found.getViewport({ scale });
    const canvas = new OffscreenCanvas(Math.max(1, Math.ceil(viewport.width)), Math.max(1, Math.ceil(viewport.height)));
    const canvasContext = canvas.getContext('2d') as unknown as CanvasRenderingContext2D;
    await found.render({ canvasContext, canvas: null, viewport, annotationMode: 0 }).promise;
    const content = await found.getTextContent();
    const text = content.items.map(item => ('str' in item ? item.str + (item.hasEOL ? '\n' : '') : '')).join('');
    return { kind: 'bitmap', title, bitmap: canvas.transferToImageBitmap(), text: cut(text, LONGEST_TEXT) };
  } catch (error) {
    left.push(`${title} cannot be drawn: ${cell((error as Error).message)}`);
    return { kind: 'text', title, text: '(not drawn)' };
  }
}

/** Makes canvases where there is no document. */
class Canvases {
  create(width: number, height: number): { canvas: OffscreenCanvas; context: unknown } {
    const canvas = new OffscreenCanvas(width, height);
    return { canvas, context: canvas.getContext('2d', { willReadFrequently: true }) };
  }

  reset(one: { canvas: OffscreenCanvas }, width: number, height: number): void {
    one.canvas.width = width;
    one.canvas.height = height;
  }

  destroy(one: { canvas: OffscreenCanvas | null; context: unknown }): void {
    one.canvas = one.context = null;
  }
}

/** Filters need SVG in a document; pages are drawn without. */
class NoFilters {
  addFilter(): string {
    return 'none';
  }
  addHCMFilter(): string {
    return 'none';
  }
  addAlphaFilter(): string {
    return 'none';
  }
  addLuminosityFilter(): string {
    return 'none';
  }
  addKnockoutFilter(): string {
    return 'none';
  }
  addHighlightHCMFilter(): string {
    return 'none';
  }
  createSelectionStyle(): null {
    return null;
  }
  destroy(): void {
    // There is nothing to free.
  }
}
