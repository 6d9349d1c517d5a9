import { ISessionContext } from '@jupyterlab/apputils';
import { DisposableDelegate, IDisposable } from '@lumino/disposable';
import { Widget } from '@lumino/widgets';

interface Request {
  done: Promise<unknown>;
}

/** What of a code cell its prompt depends on. */
interface Cell {
  model: { executionState: string };
  outputArea: { future: Request | null };
}

function isCell(cell: unknown): cell is Cell {
  const it = cell as Partial<Cell> | null;
  return typeof it?.model?.executionState === 'string' && it.outputArea !== undefined;
}

/**
 * Show a cell as run once its request is done, with or without a number.
 *
 * JupyterLab waits for the number of a reply. A cell that ended while the notebook
 * server was away has a reply without one: nobody was there to hear it.
 */
export function settlePrompts(panel: Widget, context: ISessionContext): IDisposable {
  const seen = new WeakSet<Request>();
  const settle = (cell: Cell, request: Request): void => {
    if (cell.outputArea.future === request && cell.model.executionState === 'running') {
      cell.model.executionState = 'idle';
    }
  };
  const look = (): void => {
    const content = (panel as { content?: { widgets?: readonly unknown[] } }).content;
    for (const cell of content?.widgets ?? []) {
      const request = isCell(cell) && cell.model.executionState === 'running' ? cell.outputArea.future : null;
      if (isCell(cell) && request && !seen.has(request)) {
        seen.add(request);
        request.done.then(
          () => settle(cell, request),
          () => settle(cell, request)
        );
      }
    }
  };
  context.iopubMessage.connect(look);
  return new DisposableDelegate(() => context.iopubMessage.disconnect(look));
}
