import { Dialog, showDialog } from '@jupyterlab/apputils';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';

import { clock, duration } from '../kit/words';

import { keepKernel } from './actions';
import { Keep } from './keep';
import { queueWords } from './tell';
import { Failure, KernelView } from './types';
import { Watched } from './watched';

const STATES: Record<string, string> = {
  submitting: 'handed to the queue',
  queued: 'in the queue',
  starting: 'starting',
  running: 'running',
  ending: 'ending',
  dead: 'ended',
  local: 'runs beside the notebook server'
};

function facts(view: KernelView, left: number | null): [string, string][] {
  const rows: [string, string | null | undefined | false][] = [
    ['State', STATES[view.state] ?? view.state],
    ['Resources', view.resources?.summary],
    ['Job', view.job_id],
    ['Node', view.node],
    ['In the queue', view.state === 'queued' && queueWords(view)],
    ['Time left', left !== null && `${duration(left)} (until ${clock(view.ends_at ?? '')})`]
  ];
  return rows.filter((row): row is [string, string] => !!row[1]);
}

function Why(props: { failure: Failure }): JSX.Element {
  const { title, detail, hint, log } = props.failure;
  return (
    <section className="lb-Details-why">
      <h3>{title}</h3>
      {detail && <p>{detail}</p>}
      {hint && (
        <p>
          <strong>Next step: </strong>
          {hint}
        </p>
      )}
      {log && (
        <>
          <h4>The end of its log</h4>
          <pre tabIndex={0}>{log}</pre>
        </>
      )}
    </section>
  );
}

function Details(props: { watched: Watched }): JSX.Element {
  const { watched } = props;
  const view = watched.successor?.view ?? watched.view;
  if (view === null) {
    return <p>Nothing is known of this kernel yet.</p>;
  }
  const isOld = watched.successor === null;
  return (
    <div className="lb-Details">
      {view.failure && <Why failure={view.failure} />}
      <dl>
        {facts(view, isOld ? watched.left : null).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {(view.notes ?? []).map(note => (
        <p key={note}>{note}</p>
      ))}
      {isOld && view.state === 'running' && (
        <Keep
          until={view.keep_until}
          most={view.keep_hours}
          left={watched.left}
          change={hours => void keepKernel(watched, hours)}
        />
      )}
    </div>
  );
}

class DetailsBody extends ReactWidget {
  constructor(private readonly watched: Watched) {
    super();
  }

  protected render(): JSX.Element {
    return <UseSignal signal={this.watched.changed}>{() => <Details watched={this.watched} />}</UseSignal>;
  }
}

/** Show all that is known of a document's kernel as a job. */
export async function showDetails(watched: Watched): Promise<void> {
  await showDialog({
    title: `The kernel of ${watched.context.name}`,
    body: new DetailsBody(watched),
    buttons: [Dialog.okButton({ label: 'Close' })]
  });
}
