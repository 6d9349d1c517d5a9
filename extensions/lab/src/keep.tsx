import { clock, duration } from './words';

const HOUR = 3_600_000;
const HOURS = [1, 4, 12, 24, 72, 168];

/** For how many hours a kernel may be kept, where the site allows at most so many. */
export function keepHours(most: number): number[] {
  return [...HOURS.filter(hours => hours < most), most];
}

/** Whether a kernel outlives its server and idle times, and until when. */
export function Keep(props: {
  until: string | null;
  /** The most hours that the site allows. */
  most: number;
  /** 0 hours: no longer. */
  change: (hours: number) => void;
}): JSX.Element {
  const { until, most, change } = props;
  return (
    <label className="lb-Keep" title="A kept kernel outlives its notebook server, and is not ended as idle">
      <span>Keep</span>
      <select
        name="keep"
        data-kept={until !== null}
        value={until === null ? '0' : 'kept'}
        onChange={event => change(Number(event.target.value))}
      >
        {until !== null && (
          <option value="kept" hidden>
            until {clock(until)}
          </option>
        )}
        <option value="0">no, it ends with its server</option>
        {keepHours(most).map(hours => (
          <option key={hours} value={String(hours)}>
            for {duration(hours * HOUR)}
          </option>
        ))}
      </select>
    </label>
  );
}
