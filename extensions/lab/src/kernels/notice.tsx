import { Notification } from '@jupyterlab/apputils';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import { useState } from 'react';

import { useTick } from '../kit/tick';
import { clock } from '../kit/words';

import { callOff, keepKernel, moveKernel, startAgain } from './actions';
import { showDetails } from './details';
import { Line, noticeLine } from './tell';
import { Watched } from './watched';

const LABELS: Record<Line['actions'][number], string> = {
  cancel: 'Cancel',
  again: 'Start again',
  move: 'Other resources…',
  keep: 'Keep it',
  details: 'Details…'
};

function act(action: Line['actions'][number], watched: Watched): Promise<void> {
  switch (action) {
    case 'cancel':
      return callOff(watched);
    case 'again':
      return startAgain(watched);
    case 'move':
      return moveKernel(watched);
    case 'keep':
      return keepAsLong(watched);
    case 'details':
      return showDetails(watched);
  }
}

/** Keep a kernel for as long as the site allows, and say where that is changed. */
async function keepAsLong(watched: Watched): Promise<void> {
  const view = await keepKernel(watched, watched.view?.keep_hours ?? 1);
  if (view?.keep_until) {
    Notification.success(`The kernel of ${watched.context.name} is kept until ${clock(view.keep_until)}.`, {
      actions: [{ label: 'Change…', callback: () => void showDetails(watched) }]
    });
  }
}

/** Buttons that do nothing twice at a time. */
function Actions(props: { line: Line; watched: Watched }): JSX.Element {
  const [busy, setBusy] = useState(false);
  const run = async (action: Line['actions'][number]): Promise<void> => {
    setBusy(action !== 'details');
    try {
      await act(action, props.watched);
    } finally {
      setBusy(false);
    }
  };
  return (
    <span className="lb-Notice-actions">
      {props.line.actions.map(action => (
        <button
          key={action}
          className="jp-Button lb-Button"
          data-action={action}
          disabled={busy}
          onClick={() => void run(action)}
        >
          {action === 'cancel' && props.line.tone === 'wrong' ? 'Dismiss' : LABELS[action]}
        </button>
      ))}
    </span>
  );
}

function Strip(props: { watched: Watched }): JSX.Element {
  useTick();
  const { watched } = props;
  const line = noticeLine(watched.view, watched.successor === null ? undefined : watched.successor.view, watched.left);
  return (
    <div className="lb-Notice-strip" data-tone={line?.tone ?? 'none'} hidden={line === null}>
      <span className="lb-Notice-words" role="status">
        {line && <strong>{line.text}</strong>}
        {line?.more && <span>{line.more}</span>}
      </span>
      {line && <Actions line={line} watched={watched} />}
    </div>
  );
}

/** What a document tells of its kernel, over its lower edge: nothing moves for it. */
export class Notice extends ReactWidget {
  constructor(private readonly watched: Watched) {
    super();
    this.addClass('lb-Notice');
  }

  protected render(): JSX.Element {
    return <UseSignal signal={this.watched.changed}>{() => <Strip watched={this.watched} />}</UseSignal>;
  }
}
