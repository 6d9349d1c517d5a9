import { ReactNode } from 'react';

/** What went wrong, read out by screen readers; nothing for "". */
export function Problem(props: { text: string }): JSX.Element | null {
  return props.text ? (
    <p className="lb-Kit-problem" role="alert">
      {props.text}
    </p>
  ) : null;
}

/** What stands where a list has nothing to show. */
export function Nothing(props: { children: ReactNode }): JSX.Element {
  return <p className="lb-Kit-nothing">{props.children}</p>;
}

/** A list with room for buttons at the end of each line. */
export function Lines(props: { className?: string; busy?: boolean; children: ReactNode }): JSX.Element {
  return (
    <ul className={['lb-Kit-lines', props.className].filter(Boolean).join(' ')} aria-busy={props.busy}>
      {props.children}
    </ul>
  );
}
