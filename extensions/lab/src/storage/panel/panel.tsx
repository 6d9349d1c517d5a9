import { useCallback, useEffect, useMemo, useRef, useState } from 'react';

import { Send } from '../../gateway/send';
import { Nothing, Problem } from '../../kit/lines';
import { useAsked } from '../../kit/query';
import { Tabs } from '../../kit/tabs';
import { useToast } from '../../kit/toast';
import { Api } from '../api';
import { Bucket, Me } from '../types';
import { Queue } from '../upload/queue';
import { sums, Uploads } from '../upload/view';

import { At, Browse } from './browse';
import { Buckets } from './buckets';
import { PanelHost } from './host';
import { isKeyFault, isKeyMissing, KEY_FAULT, KeyForm } from './key';
import { History } from './past';
import { Shared, SharedProvider, useQueue } from './shared';
import { Shares } from './sharing';
import { isOver, Tasks } from './tasks';
import { Unfinished } from './unfinished';

const TASKS_EVERY = 1500;
const AGAIN_SOON = 400;
const AGAIN_LATER = 5000;

/** Where the panel was left, to come back to it. */
export interface Memory {
  read(): At | null;
  write(at: At): void;
  /** Tells of a change from outside, such as the browser's Back; returns how to end it. */
  watch?(changed: () => void): () => void;
}

type View = 'browse' | 'uploads' | 'tasks' | 'shares' | 'history' | 'unfinished';

/** Polls the tasks while one runs, or once when asked to. */
function useTasks(api: Api, ended: () => void) {
  const asked = useAsked(() => api.tasks(), [api]);
  const tasks = asked.value?.tasks ?? [];
  const running = tasks.filter(task => !isOver(task)).length;
  const before = useRef(0);
  const { again } = asked;
  useEffect(() => {
    if (running < before.current) {
      ended();
    }
    before.current = running;
    if (running || asked.passing) {
      const timer = setTimeout(again, asked.passing ? AGAIN_LATER : TASKS_EVERY);
      return () => clearTimeout(timer);
    }
  }, [asked.answers]);
  return { tasks, next: asked.value?.next ?? null, running, problem: asked.problem, again };
}

function rootOf(buckets: Bucket[], at: At): string {
  const fits = buckets.filter(one => one.name === at.bucket && at.prefix.startsWith(one.prefix));
  return fits.sort((a, b) => a.prefix.length - b.prefix.length)[0]?.prefix ?? '';
}

/** The views, each with how much goes on in it. */
function views(uploads: number, tasks: number, place: boolean): [View, string][] {
  return [
    ['browse', 'Objects'],
    ['uploads', uploads ? `Uploads (${uploads})` : 'Uploads'],
    ['tasks', tasks ? `Tasks (${tasks})` : 'Tasks'],
    ['shares', 'Shares and keys'],
    ['history', 'History'],
    ...(place ? [['unfinished', 'Unfinished'] as [View, string]] : [])
  ];
}

/** The place that is shown: remembered, or the person's own bucket. */
function usePlace(buckets: Bucket[], me: Me, memory: Memory) {
  const first = buckets.find(one => one.name === me.bucket) ?? buckets[0];
  const remembered = (): At | null => {
    const at = memory.read();
    return at && buckets.some(one => one.name === at.bucket && at.prefix.startsWith(one.prefix)) ? at : null;
  };
  const own = first ? { bucket: first.name, prefix: first.prefix } : null;
  const [at, setAt] = useState<At | null>(() => remembered() ?? own);
  useEffect(() => memory.watch?.(() => setAt(old => remembered() ?? old)), [memory, buckets]);
  return [at, setAt] as const;
}

function Loaded(props: {
  api: Api;
  me: Me;
  host: PanelHost;
  buckets: Bucket[];
  reread(): void;
  memory: Memory;
}): JSX.Element {
  const { api, me, host, buckets, memory } = props;
  const [at, setAt] = usePlace(buckets, me, memory);
  const [view, setView] = useState<View>('browse');
  const [turn, setTurn] = useState(0);
  const [said, say] = useToast();
  const again = useCallback(() => setTurn(old => old + 1), []);
  const tasks = useTasks(api, again);
  const here = useRef(at);
  here.current = at;
  const queue = useMemo(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    return new Queue(api, me, (bucket, key) => {
      if (bucket === here.current?.bucket && key.startsWith(here.current.prefix)) {
        clearTimeout(timer); // many small files are one new look
        timer = setTimeout(again, AGAIN_SOON);
      }
    });
    // Its user and the store's path, not what is used of a quota, make it another one.
  }, [api, me.user, me.path, again]);
  useEffect(() => void queue.load(), [queue]);
  useQueue(queue);
  const go = (bucket: string, prefix: string): void => {
    setAt({ bucket, prefix });
    setView('browse');
    memory.write({ bucket, prefix });
  };
  const waiting = sums(queue).of;
  const shared: Shared = { api, me, host, queue, buckets, say, reread: props.reread, tasksChanged: tasks.again };
  return (
    <SharedProvider value={shared}>
      <div className="lb-Storage-columns2">
        <Buckets chosen={view === 'browse' ? at : null} choose={go} />
        <div className="lb-Storage-main">
          <Tabs<View>
            label="Views"
            views={views(
              queue.items.size - waiting.done,
              tasks.running,
              at !== null && buckets.some(one => one.name === at.bucket && one.mode === 'read-write')
            )}
            chosen={view}
            choose={setView}
          />
          {said}
          {view === 'browse' && at && (
            <Browse
              key={`${at.bucket}/${rootOf(buckets, at)}`}
              at={at}
              root={rootOf(buckets, at)}
              turn={turn}
              go={prefix => go(at.bucket, prefix)}
              again={again}
            />
          )}
          {view === 'uploads' && <Uploads />}
          {view === 'tasks' && (
            <Tasks tasks={tasks.tasks} next={tasks.next} problem={tasks.problem} changed={tasks.again} />
          )}
          {view === 'shares' && <Shares />}
          {view === 'history' && <History />}
          {view === 'unfinished' && at && <Unfinished bucket={at.bucket} prefix={rootOf(buckets, at)} />}
        </div>
      </div>
    </SharedProvider>
  );
}

/** Buckets, objects and all that goes on with them; on a page and in JupyterLab. */
export function StoragePanel(props: { send: Send; host: PanelHost; memory: Memory }): JSX.Element {
  const api = useMemo(() => new Api(props.send), [props.send]);
  const me = useAsked(() => api.me(), [api]);
  const buckets = useAsked(() => api.buckets(), [api]);
  const problem = me.problem || buckets.problem;
  useEffect(() => {
    if (!me.passing && !buckets.passing) {
      return;
    }
    const timer = setTimeout(() => (me.again(), buckets.again()), AGAIN_LATER);
    return () => clearTimeout(timer);
  }, [me.answers, buckets.answers]);
  const reread = useCallback(() => (me.again(), buckets.again()), [me.again, buckets.again]);
  const locked = me.value?.credentials === 'pasted' && isKeyFault(buckets.fault);
  const told = locked && !isKeyMissing(buckets.fault) ? KEY_FAULT : problem;
  return (
    <div className="lb-Storage lb-Kit" data-lm-suppress-shortcuts="true">
      <Problem text={told} />
      {locked && <KeyForm api={api} kept={reread} />}
      {locked ? null : !me.value || !buckets.value ? (
        !problem && <Nothing>Reading your buckets…</Nothing>
      ) : (
        <Loaded
          api={api}
          me={me.value}
          host={props.host}
          buckets={buckets.value}
          reread={reread}
          memory={props.memory}
        />
      )}
    </div>
  );
}
