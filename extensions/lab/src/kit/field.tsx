import { ReactNode, useId } from 'react';

/** A label over a field, and a line that explains it. */
export function Field(props: { label: string; hint?: string; children(id: string): ReactNode }): JSX.Element {
  const id = useId();
  return (
    <div className="lb-Kit-field">
      <label htmlFor={id}>{props.label}</label>
      {props.children(id)}
      {props.hint && <small>{props.hint}</small>}
    </div>
  );
}

const DAY = 86_400_000;
const ENDS = [
  [1, '1 day'],
  [7, '7 days'],
  [30, '30 days'],
  [90, '90 days']
] as const;

/** The moment so many days from now, as the service wants it. */
export function inDays(days: number): string {
  return new Date(Date.now() + days * DAY).toISOString();
}

/** For how long something shall hold. */
export function Ends(props: { days: number; most?: number; change(days: number): void }): JSX.Element {
  const offered = ENDS.filter(([days]) => days <= (props.most ?? 90));
  return (
    <Field label="Ends after">
      {id => (
        <select id={id} value={props.days} onChange={event => props.change(Number(event.target.value))}>
          {offered.map(([days, words]) => (
            <option key={days} value={days}>
              {words}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}
