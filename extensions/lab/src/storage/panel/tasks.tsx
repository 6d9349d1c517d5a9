import { useState } from 'react';

import { words } from '../../gateway/refused';
import { Lines, Nothing, Problem } from '../../kit/lines';
import { Tool } from '../../kit/tool';
import { ago, count, size, visible } from '../../kit/words';
import { Task, TaskPage } from '../types';

import { useShared } from './shared';

const VERB: Record<string, [string, string]> = {
  copy: ['Copying', 'Copied'],
  move: ['Moving', 'Moved'],
  delete: ['Deleting', 'Deleted']
};

export function isOver(task: Task): boolean {
  return task.phase === 'done' || task.phase === 'failed' || task.phase === 'cancelled';
}

/** "Copying results/ to bucket/prefix" */
function told(task: Task): string {
  const { facts } = task;
  const names = [facts.prefixes, facts.keys].flatMap(some => (Array.isArray(some) ? (some as string[]) : []));
  const what = names.length === 1 ? visible(names[0]) : count(names.length, 'thing');
  const verb = VERB[task.kind]?.[isOver(task) ? 1 : 0] ?? task.kind;
  const to = typeof facts.target === 'string' && facts.target && task.kind !== 'delete';
  return `${verb} ${what}${to ? ` to ${facts.target}/${visible(String(facts.prefix ?? '') + String(facts.name ?? ''))}` : ''}`;
}

function state(task: Task): string {
  if (task.cancel_wanted && !isOver(task)) {
    return 'ending';
  }
  return task.phase === 'cancelled' ? 'ended by you' : task.phase;
}

function Line(props: { task: Task; cancel(): void }): JSX.Element {
  const { task } = props;
  const over = isOver(task);
  const failures = task.failures.slice(0, 5);
  return (
    <li data-task={task.id} data-phase={task.phase}>
      <div className="lb-Storage-taskHead">
        <bdi className="lb-Storage-key">{told(task)}</bdi>
        <span
          className="lb-Storage-state"
          data-tone={task.phase === 'failed' || task.failed ? 'bad' : over ? 'good' : 'wait'}
        >
          {state(task)}
        </span>
        {!over && <Tool icon="close" label="Cancel" bare disabled={task.cancel_wanted} onClick={props.cancel} />}
      </div>
      {!over && (
        <progress
          max={task.total ?? undefined}
          value={task.total === null ? undefined : task.done}
          aria-label="Progress"
        />
      )}
      <div className="lb-Storage-age">
        {count(task.done, 'object')}
        {task.total !== null && !over && ` of ${task.total.toLocaleString('en')}`}
        {task.bytes_done > 0 && `, ${size(task.bytes_done)}`}
        {task.failed > 0 && `, ${count(task.failed, 'object')} not done`} · {ago(task.updated)}
      </div>
      {task.message && <div>{visible(task.message)}</div>}
      {failures.map((one, i) => (
        <div key={i} className="lb-Kit-problem">
          <bdi className="lb-Storage-key">{visible(one.key ?? '')}</bdi> {visible(one.message ?? '')}
        </div>
      ))}
    </li>
  );
}

/** Each task once, as it is in the first list that has it. */
function once(tasks: Task[]): Task[] {
  const byId = new Map<string, Task>();
  for (const task of tasks) {
    if (!byId.has(task.id)) {
      byId.set(task.id, task);
    }
  }
  return [...byId.values()];
}

/** The newest tasks and, as they are asked for, all before. */
function useOlder(tasks: Task[], next: string | null) {
  const { api, say } = useShared();
  const [older, setOlder] = useState<TaskPage | null>(null);
  const cursor = older ? older.next : next;
  const more = (): void => {
    void api.tasks(cursor).then(
      // What is in the newest page now may have left it by the next time that it is read.
      page => setOlder({ tasks: once([...tasks, ...(older?.tasks ?? []), ...page.tasks]), next: page.next }),
      error => say(words(error), 'bad')
    );
  };
  return { all: once([...tasks, ...(older?.tasks ?? [])]), more: cursor ? more : null };
}

/** Long work: how far it is, how it ended, and a way to end it. */
export function Tasks(props: { tasks: Task[]; next: string | null; problem: string; changed(): void }): JSX.Element {
  const { api, say } = useShared();
  const { all, more } = useOlder(props.tasks, props.next);
  const cancel = (id: string): void => {
    void api.cancel(id).then(props.changed, error => say(String(error.message ?? error), 'bad'));
  };
  return (
    <section className="lb-Storage-page" aria-label="Tasks">
      <Problem text={props.problem} />
      {all.length === 0 && <Nothing>No copying, moving or deleting goes on or went on lately.</Nothing>}
      <Lines className="lb-Storage-tasks">
        {all.map(task => (
          <Line key={task.id} task={task} cancel={() => cancel(task.id)} />
        ))}
      </Lines>
      {more && (
        <button type="button" className="lb-Kit-button" onClick={more}>
          More
        </button>
      )}
    </section>
  );
}
