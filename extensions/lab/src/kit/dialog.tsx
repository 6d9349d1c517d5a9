import { FormEvent, ReactNode, useEffect, useId, useRef, useState } from 'react';

import { words } from '../storage/api';

/** A question in a window of its own; Escape and Cancel close it. */
export function Dialog(props: {
  title: string;
  children: ReactNode;
  /** The button that does it; without, there is only Close. */
  action?: string;
  danger?: boolean;
  /** With room for long lines. */
  wide?: boolean;
  /** What leaving it is called; else Cancel, or Close where nothing can be done. */
  leave?: string;
  ready?: boolean;
  /** Does it; what it rejects with is shown, and the window stays. */
  run?(): Promise<boolean | void>;
  close(): void;
}): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    const node = ref.current;
    const before = document.activeElement;
    node?.showModal();
    return () => {
      node?.close();
      if (before instanceof HTMLElement) {
        before.focus();
      }
    };
  }, []);
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setProblem('');
    try {
      if ((await props.run?.()) !== false) {
        props.close();
        return;
      }
    } catch (error) {
      setProblem(words(error));
    }
    setBusy(false);
  };
  return (
    <dialog
      ref={ref}
      className="lb-Storage-dialog"
      data-wide={props.wide}
      data-lm-suppress-shortcuts="true"
      aria-labelledby={id}
      onCancel={event => {
        event.preventDefault();
        props.close();
      }}
      onKeyDown={event => event.stopPropagation()}
    >
      <form method="dialog" onSubmit={event => void submit(event)}>
        <h3 id={id}>{props.title}</h3>
        {props.children}
        {problem && (
          <p className="lb-Storage-problem" role="alert">
            {problem}
          </p>
        )}
        <div className="lb-Storage-buttons">
          <button type="button" className="lb-Storage-button" onClick={props.close}>
            {props.leave ?? (props.action ? 'Cancel' : 'Close')}
          </button>
          {props.action && (
            <button
              type="submit"
              className="lb-Storage-button"
              data-kind={props.danger ? 'danger' : 'main'}
              disabled={busy || props.ready === false}
            >
              {busy ? 'Working…' : props.action}
            </button>
          )}
        </div>
      </form>
    </dialog>
  );
}

/** A label over a field, and a line that explains it. */
export function Field(props: { label: string; hint?: string; children(id: string): ReactNode }): JSX.Element {
  const id = useId();
  return (
    <div className="lb-Storage-field">
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
