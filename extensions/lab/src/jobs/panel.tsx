import { Notification } from '@jupyterlab/apputils';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import { Signal } from '@lumino/signaling';

import { words } from '../gateway/refused';
import { keep } from '../kernels/api';
import { Keep } from '../kernels/keep';
import { Nothing, Problem } from '../kit/lines';
import { Meter } from '../kit/meter';
import { Repeat } from '../kit/repeat';
import { duration, size } from '../kit/words';

import * as api from './api';
import { confirmEnd } from './confirm';
import { jobsIcon } from './icons';
import { GpuUse, JobEntry } from './types';

const EVERY = 5000;

/** How a kind of job is told; kinds that a later server adds show by their own name. */
interface Kind {
  heading: string;
  /** What ends with one of them. */
  loss: string;
}

const KINDS: Readonly<Record<string, Kind>> = {
  server: {
    heading: 'Notebook server',
    loss: 'This page stops working, and kernels that are not kept end with it. Save your work first.'
  },
  kernel: { heading: 'Kernels', loss: 'All that it holds in memory is lost.' }
};

function kindOf(kind: string): Kind {
  const own = Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  return own ?? { heading: kind.charAt(0).toUpperCase() + kind.slice(1), loss: 'Its job ends.' };
}

/** Kinds in the order in which they came, each with its entries. */
export function byKind(jobs: readonly JobEntry[]): [string, JobEntry[]][] {
  const found = new Map<string, JobEntry[]>();
  for (const job of jobs) {
    found.set(job.kind, [...(found.get(job.kind) ?? []), job]);
  }
  return [...found];
}

function Gpu(props: { use: GpuUse }): JSX.Element {
  const { index, utilization, memory_used, memory_total } = props.use;
  const percent = Math.min(100, Math.max(0, utilization));
  return (
    <div className="lb-Jobs-gpu">
      <span>GPU {index}</span>
      <Meter percent={percent} label={`GPU ${index} is used at ${percent} %`} />
      <span>
        {percent} % · {size(memory_used)} of {size(memory_total)}
      </span>
    </div>
  );
}

function Entry(props: {
  job: JobEntry;
  end: (job: JobEntry) => void;
  keep: (job: JobEntry, hours: number) => void;
}): JSX.Element {
  const { job } = props;
  const where = [job.node, job.job_id && `job ${job.job_id}`].filter(Boolean).join(' · ');
  const left = job.time_left === null ? '' : `${duration(job.time_left * 1000)} left`;
  const name = job.title.split('/').pop() || job.title;
  return (
    <li className="lb-Jobs-entry" data-kind={job.kind} data-state={job.state}>
      <div className="lb-Jobs-head">
        <span className="lb-Jobs-dot" aria-hidden="true" />
        {job.url ? (
          <a className="lb-Jobs-title" href={job.url} target="_blank" rel="noopener" title={job.title}>
            {name}
          </a>
        ) : (
          <span className="lb-Jobs-title" title={job.title}>
            {name}
          </span>
        )}
        <span className="lb-Jobs-state">{job.state === 'dead' ? 'ended' : job.state}</span>
      </div>
      {job.message && job.state !== 'running' && <div className="lb-Jobs-line">{job.message}</div>}
      {job.resources && <div className="lb-Jobs-line">{job.resources}</div>}
      {(where || left) && <div className="lb-Jobs-line">{[where, left].filter(Boolean).join(' · ')}</div>}
      {job.gpu_use?.map(use => (
        <Gpu key={use.index} use={use} />
      ))}
      {!!job.keep_hours && (
        <Keep
          until={job.keep_until ?? null}
          most={job.keep_hours}
          left={job.time_left === null ? null : job.time_left * 1000}
          change={hours => props.keep(job, hours)}
        />
      )}
      {job.can_end && (
        <button
          type="button"
          className="lb-Kit-button lb-Jobs-end"
          aria-label={`End ${name}`}
          onClick={() => props.end(job)}
        >
          {job.state === 'dead' ? 'Remove' : 'End'}
        </button>
      )}
    </li>
  );
}

function List(props: { panel: JobsPanel }): JSX.Element {
  const { jobs, problem, end, keep: keepJob } = props.panel;
  return (
    <div className="lb-Jobs-list">
      <Problem text={problem} />
      {jobs === null && !problem && <Nothing>Reading…</Nothing>}
      {jobs?.length === 0 && <Nothing>Nothing of yours runs as a job.</Nothing>}
      {byKind(jobs ?? []).map(([kind, entries]) => (
        <section key={kind} aria-label={kindOf(kind).heading}>
          <h3>{kindOf(kind).heading}</h3>
          <ul>
            {entries.map(job => (
              <Entry key={job.id} job={job} end={end} keep={keepJob} />
            ))}
          </ul>
        </section>
      ))}
    </div>
  );
}

/** Everything of mine that runs as a job, in the sidebar. */
export class JobsPanel extends ReactWidget {
  constructor() {
    super();
    this.id = 'landbridge-jobs';
    this.addClass('lb-Jobs');
    this.addClass('lb-Kit');
    this.title.icon = jobsIcon;
    this.title.caption = 'My jobs';
    this.node.setAttribute('aria-label', 'My jobs');
  }

  jobs: JobEntry[] | null = null;
  problem = '';

  /** End one after its user has confirmed. */
  readonly end = (job: JobEntry): void => {
    void this.endAfterWord(job);
  };

  /** Keep a kernel for some hours; 0 for no longer. */
  readonly keep = (job: JobEntry, hours: number): void => {
    void this.tried(`${job.title} could not be kept`, () => keep(job.id, hours));
  };

  dispose(): void {
    this._repeat.dispose();
    super.dispose();
  }

  protected render(): JSX.Element {
    return (
      <>
        <h2 className="lb-Jobs-heading">My jobs</h2>
        <UseSignal signal={this._changed}>{() => <List panel={this} />}</UseSignal>
      </>
    );
  }

  protected onAfterShow(): void {
    this._repeat.now();
  }

  private async endAfterWord(job: JobEntry): Promise<void> {
    const asks = job.state !== 'dead';
    if (asks && !(await confirmEnd(`End ${job.title}?`, kindOf(job.kind).loss))) {
      return;
    }
    await this.tried(`${job.title} could not be ended`, () => api.end(job));
  }

  private async tried(problem: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      Notification.error(`${problem}: ${words(error)}`);
    }
    this._repeat.now();
  }

  private async read(): Promise<number | null> {
    if (!this.isVisible) {
      return null;
    }
    try {
      this.jobs = await api.jobs();
      this.problem = '';
    } catch (error) {
      this.problem = `The list cannot be read at the moment: ${words(error)}`;
    }
    this._changed.emit();
    return EVERY;
  }

  private _changed = new Signal<this, void>(this);
  private _repeat = new Repeat(() => this.read());
}
