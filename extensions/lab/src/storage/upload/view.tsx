import { useRef, useState } from 'react';

import { Icon } from '../../kit/icons';
import { Lines, Nothing } from '../../kit/lines';
import { Tool } from '../../kit/tool';
import { count, remaining, size, visible } from '../../kit/words';
import { useQueue, useShared } from '../panel/shared';

import { fromInput, hasPicker, pick, Picked } from './files';
import { Item, Queue, State } from './queue';

const SHOWN = 100;
const WORDS: Record<State, string> = {
  waiting: 'waits',
  sending: 'uploading',
  paused: 'paused',
  'needs-file': 'needs its file',
  exists: 'exists already',
  failed: 'failed',
  done: 'done'
};
const TONES: Partial<Record<State, string>> = { failed: 'bad', exists: 'bad', done: 'good' };
// What wants something of its person comes first, then what runs, then the rest.
const ORDER: State[] = ['failed', 'exists', 'needs-file', 'sending', 'paused', 'waiting', 'done'];

interface Sums {
  sent: number;
  total: number;
  of: Record<State, number>;
}

export function sums(queue: Queue): Sums {
  const of = Object.fromEntries(ORDER.map(state => [state, 0])) as Record<State, number>;
  let [sent, total] = [0, 0];
  for (const item of queue.items.values()) {
    of[item.state] += 1;
    sent += item.sent;
    total += item.kept.size;
  }
  return { sent, total, of };
}

/** Asks for files or for a folder; the input is there for browsers and people alike. */
export function AddButtons(props: { add(picked: Picked[]): void; disabled: boolean }): JSX.Element {
  const { say } = useShared();
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  const ask = (): void => {
    if (hasPicker()) {
      void pick().then(props.add, error => say(String(error), 'bad'));
    } else {
      files.current?.click();
    }
  };
  const take = (input: HTMLInputElement): void => {
    props.add(fromInput(input.files));
    input.value = '';
  };
  return (
    <>
      <Tool icon="upload" label="Upload" kind="main" disabled={props.disabled} title="Upload files" onClick={ask} />
      <Tool
        icon="folderUp"
        label="Upload folder"
        bare
        disabled={props.disabled}
        onClick={() => folder.current?.click()}
      />
      <input
        ref={files}
        type="file"
        multiple
        hidden
        data-upload="files"
        aria-label="Files to upload"
        onChange={event => take(event.target)}
      />
      <input
        ref={folder}
        type="file"
        hidden
        data-upload="folder"
        aria-label="Folder to upload"
        {...{ webkitdirectory: '' }}
        onChange={event => take(event.target)}
      />
    </>
  );
}

function Line(props: { item: Item; queue: Queue }): JSX.Element {
  const { item, queue } = props;
  const { id, size: whole, bucket, key } = item.kept;
  const name = visible(item.kept.name);
  const active = item.state === 'sending' || item.state === 'waiting';
  const share = whole ? Math.round((100 * item.sent) / whole) : 0;
  return (
    <li data-upload-state={item.state}>
      <div className="lb-Storage-taskHead">
        <bdi className="lb-Storage-key" title={visible(`${bucket}/${key}`)}>
          {name}
        </bdi>
        <span className="lb-Storage-state" data-tone={TONES[item.state] ?? 'wait'}>
          {item.state === 'sending' ? `${share} %` : WORDS[item.state]}
        </span>
        {item.state === 'exists' && (
          <Tool icon="upload" label={`Replace ${name}`} bare onClick={() => void queue.resume(id, true)} />
        )}
        {(item.state === 'paused' || item.state === 'failed') && (
          <Tool icon="play" label={`Go on with ${name}`} bare onClick={() => void queue.resume(id)} />
        )}
        {active && <Tool icon="pause" label={`Pause ${name}`} bare onClick={() => queue.pause(id)} />}
        <Tool icon="close" label={`Remove ${name}`} bare onClick={() => void queue.remove(id)} />
      </div>
      {item.state === 'sending' && <progress max={whole || 1} value={item.sent} aria-label={`Upload of ${name}`} />}
      <div className="lb-Storage-age">
        {item.state === 'done' ? size(whole) : `${size(item.sent)} of ${size(whole)}`}
        {item.problem && <span className="lb-Kit-problem"> {visible(item.problem)}</span>}
      </div>
    </li>
  );
}

/** Asks for files again that a reload took away. */
function Again(props: { queue: Queue; missing: number }): JSX.Element {
  const { say } = useShared();
  const files = useRef<HTMLInputElement>(null);
  const take = async (input: HTMLInputElement): Promise<void> => {
    const picked = fromInput(input.files);
    input.value = '';
    const found = await props.queue.rejoin(picked);
    if (found < picked.length) {
      say(`${count(picked.length - found, 'file')} is none of those: same name, size and time are needed.`, 'bad');
    }
  };
  return (
    <div className="lb-Storage-again" role="status">
      <span>
        {count(props.missing, 'upload')} stopped when the page was left. Choose the same{' '}
        {props.missing === 1 ? 'file' : 'files'} again: what has arrived is not sent twice.
      </span>
      <Tool icon="upload" label="Choose again" kind="main" onClick={() => files.current?.click()} />
      <input
        ref={files}
        type="file"
        multiple
        hidden
        data-upload="again"
        aria-label="Files to go on with"
        onChange={event => void take(event.target)}
      />
    </div>
  );
}

/** How fast it goes, over the last seconds. */
function useRate(sent: number): number {
  const past = useRef<{ at: number; sent: number }[]>([]);
  const now = Date.now();
  past.current = [...past.current.filter(one => now - one.at < 8000 && one.sent <= sent), { at: now, sent }];
  const first = past.current[0];
  return now - first.at > 500 ? (1000 * (sent - first.sent)) / (now - first.at) : 0;
}

/** All uploads of this window, with what each of them waits for. */
export function Uploads(): JSX.Element {
  const { queue } = useShared();
  useQueue(queue);
  const [more, setMore] = useState(SHOWN);
  const { sent, total, of } = sums(queue);
  const rate = useRate(sent);
  const items = [...queue.items.values()].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
  const running = of.sending + of.waiting;
  return (
    <section className="lb-Storage-page" aria-label="Uploads">
      {of['needs-file'] > 0 && <Again queue={queue} missing={of['needs-file']} />}
      {items.length === 0 && (
        <Nothing>
          <Icon name="upload" /> Drop files or folders on a list, or press Upload there.
        </Nothing>
      )}
      {items.length > 0 && (
        <div className="lb-Storage-bar">
          <span aria-live="polite">
            {of.done} of {count(items.length, 'file')}, {size(sent)} of {size(total)}
            {running > 0 && rate > 0 && `, ${size(rate)}/s, ${remaining((total - sent) / rate)} left`}
          </span>
          <span className="lb-Storage-push" />
          {running > 0 && <Tool icon="pause" label="Pause all" onClick={() => queue.pauseAll()} />}
          {of.paused + of.failed > 0 && (
            <Tool icon="play" label="Go on with all" onClick={() => void queue.resumeAll()} />
          )}
          {of.done > 0 && <Tool icon="close" label="Clear done" onClick={() => queue.clear()} />}
        </div>
      )}
      <Lines className="lb-Storage-tasks">
        {items.slice(0, more).map(item => (
          <Line key={item.kept.id} item={item} queue={queue} />
        ))}
      </Lines>
      {items.length > more && (
        <button type="button" className="lb-Kit-button" onClick={() => setMore(more + SHOWN)}>
          {count(items.length - more, 'more file')}
        </button>
      )}
    </section>
  );
}
