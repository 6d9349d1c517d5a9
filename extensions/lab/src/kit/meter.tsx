/** How much of something is used: a bar, red where it is nearly full. */
export function Meter(props: {
  /** Of 100. */
  percent: number;
  label: string;
  /** Whether much of it is something to worry about. */
  warns?: boolean;
}): JSX.Element {
  const percent = Math.min(100, Math.max(0, props.percent));
  return (
    <span className="lb-Kit-meter" data-full={props.warns && percent > 90} role="img" aria-label={props.label}>
      {/* The least of it can be seen. */}
      <span style={{ width: `${percent && Math.max(percent, 1)}%` }} />
    </span>
  );
}
