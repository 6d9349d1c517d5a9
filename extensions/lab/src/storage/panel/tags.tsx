import { useState } from 'react';

import { Refused } from '../../gateway/refused';
import { useAsked } from '../../kit/query';
import { Tool } from '../../kit/tool';
import { visible } from '../../kit/words';

import { MOST_TAGS, sameTags, TagRow, tagRows, tagsOf } from './facts';
import { useShared } from './shared';

/** The tags of an object as they are kept, and as they are being written. */
export function useTags(bucket: string, key: string) {
  const { api } = useShared();
  const asked = useAsked(() => api.tags(bucket, key), [bucket, key]);
  const [written, write] = useState<TagRow[] | null>(null);
  const rows = written ?? tagRows(asked.value ?? {});
  const { tags, problem } = tagsOf(rows);
  return {
    asked,
    rows,
    write,
    problem,
    ready: asked.value !== null && !problem && !sameTags(tags, asked.value),
    again: (): void => {
      write(null);
      asked.again();
    },
    save: async (): Promise<void> => {
      await api.setTags(bucket, key, tags);
      write(null);
      asked.again();
    }
  };
}

type Tags = ReturnType<typeof useTags>;

function TagLine(props: { row: TagRow; name: string; change(row: TagRow): void; remove(): void }): JSX.Element {
  const { row, name } = props;
  return (
    <div className="lb-Storage-tag">
      <input
        name={`${name}-name`}
        aria-label="Name of the tag"
        placeholder="name"
        value={row.name}
        maxLength={128}
        spellCheck={false}
        onChange={event => props.change({ ...row, name: event.target.value })}
      />
      <input
        name={`${name}-value`}
        aria-label={`Value of the tag ${visible(row.name)}`}
        placeholder="value"
        value={row.value}
        maxLength={256}
        spellCheck={false}
        onChange={event => props.change({ ...row, value: event.target.value })}
      />
      <Tool icon="close" label={`Remove the tag ${visible(row.name)}`} bare onClick={props.remove} />
    </div>
  );
}

/** The tags: to be read, or changed where the user may write. */
export function TagLines(props: { tags: Tags; write: boolean }): JSX.Element {
  const { asked, rows, write, problem } = props.tags;
  if (asked.fault instanceof Refused && asked.fault.code === 'not-supported') {
    return <p className="lb-Storage-age">This store keeps no tags.</p>;
  }
  if (asked.problem) {
    return <p className="lb-Kit-problem">{asked.problem}</p>;
  }
  if (asked.value === null) {
    return <p className="lb-Storage-age">Reading…</p>;
  }
  if (!props.write) {
    return rows.length === 0 ? (
      <p className="lb-Storage-age">It has none.</p>
    ) : (
      <dl className="lb-Storage-facts">
        {rows.map(row => (
          <div key={row.name}>
            <dt>
              <bdi>{visible(row.name)}</bdi>
            </dt>
            <dd>
              <bdi>{visible(row.value)}</bdi>
            </dd>
          </div>
        ))}
      </dl>
    );
  }
  return (
    <>
      {rows.map((row, i) => (
        <TagLine
          key={i}
          row={row}
          name={`tag-${i}`}
          change={changed => write(rows.map((old, at) => (at === i ? changed : old)))}
          remove={() => write(rows.filter((_, at) => at !== i))}
        />
      ))}
      {problem && <p className="lb-Kit-problem">{problem}</p>}
      {rows.length < MOST_TAGS && (
        <Tool icon="plus" label="Add a tag" onClick={() => write([...rows, { name: '', value: '' }])} />
      )}
    </>
  );
}
