/** Buttons that choose one of several views. */
export function Tabs<View extends string>(props: {
  label: string;
  views: [view: View, label: string][];
  chosen: View;
  choose(view: View): void;
}): JSX.Element {
  return (
    <div className="lb-Kit-tabs" role="group" aria-label={props.label}>
      {props.views.map(([view, label]) => (
        <button
          key={view}
          type="button"
          data-view={view}
          aria-pressed={props.chosen === view}
          onClick={() => props.choose(view)}
        >
          {label}
        </button>
      ))}
    </div>
  );
}
