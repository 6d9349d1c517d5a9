import { keepChoices, keptWords } from './tell';

/** Whether a kernel outlives its server and idle times, and until when. */
export function Keep(props: {
  until: string | null;
  /** The most hours that the site allows. */
  most: number;
  /** Milliseconds until its job's time limit; null for none. */
  left: number | null;
  /** 0 hours: no longer. */
  change: (hours: number) => void;
}): JSX.Element {
  const { until, most, left, change } = props;
  return (
    <label className="lb-Keep" title="A kept kernel outlives its notebook server, and is not ended as idle">
      <span>Keep</span>
      <select name="keep" value={until === null ? '0' : 'kept'} onChange={event => change(Number(event.target.value))}>
        {until !== null && (
          <option value="kept" hidden>
            {keptWords(until, left)}
          </option>
        )}
        <option value="0">while its server runs</option>
        {keepChoices(most, left).map(([hours, words]) => (
          <option key={words} value={String(hours)}>
            {words}
          </option>
        ))}
      </select>
    </label>
  );
}
