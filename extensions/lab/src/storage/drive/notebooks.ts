import { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';

/** What is used of a notebook in JupyterLab; its own package is not built in. */
interface NotebookPanel extends Widget {
  content: Widget & {
    activeCellIndex: number;
    activeCell: {
      model: { type: string; sharedModel: { getSource(): string; setSource(source: string): void } };
    } | null;
    widgets: readonly Widget[];
  };
}

/** The MIME type by which a dragged object is known. */
export const OBJECT_TYPE = 'application/x-landbridge-object';

function isNotebook(widget: Widget | null): widget is NotebookPanel {
  return widget !== null && widget.hasClass('jp-NotebookPanel');
}

/** Put code into a new cell below the active one of the notebook in use. */
export async function insertCell(app: JupyterFrontEnd, code: string): Promise<void> {
  const current = app.shell.currentWidget;
  const panel = isNotebook(current)
    ? current
    : [...app.shell.widgets('main')].filter(isNotebook).find(one => one.isVisible);
  if (!panel) {
    Notification.info('Open a notebook first: the code goes into a new cell of it.');
    return;
  }
  await insertInto(app, panel, code);
}

async function insertInto(app: JupyterFrontEnd, panel: NotebookPanel, code: string, below?: number): Promise<void> {
  app.shell.activateById(panel.id);
  if (below !== undefined) {
    panel.content.activeCellIndex = below;
  }
  const active = panel.content.activeCell?.model;
  if (active?.type !== 'code' || active.sharedModel.getSource().trim() !== '') {
    await app.commands.execute('notebook:insert-cell-below');
  }
  panel.content.activeCell?.model.sharedModel.setSource(code);
}

/** Let objects be dropped onto notebooks: a new cell, below the one under the pointer. */
export function acceptDrops(app: JupyterFrontEnd): void {
  const panelAt = (event: DragEvent): NotebookPanel | undefined => {
    const isOurs = event.dataTransfer?.types.includes(OBJECT_TYPE) ?? false;
    const node = event.target instanceof Node ? event.target : null;
    return isOurs
      ? [...app.shell.widgets('main')].filter(isNotebook).find(one => one.content.node.contains(node))
      : undefined;
  };
  const accept = (event: DragEvent): void => {
    if (panelAt(event)) {
      event.preventDefault();
      event.stopPropagation();
      event.dataTransfer!.dropEffect = 'copy';
    }
  };
  document.addEventListener('dragenter', accept, true);
  document.addEventListener('dragover', accept, true);
  document.addEventListener(
    'drop',
    event => {
      const panel = panelAt(event);
      if (panel) {
        event.preventDefault();
        event.stopPropagation();
        const cells = panel.content.widgets;
        const under = cells.findIndex(cell => cell.node.contains(event.target as Node));
        const below = under < 0 ? cells.length - 1 : under;
        void insertInto(app, panel, event.dataTransfer!.getData('text/plain'), below);
      }
    },
    true
  );
}
