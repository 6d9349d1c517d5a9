import { Icon, IconName } from './icons';

/** A button with a picture; its words show where there is room, and are read always. */
export function Tool(props: {
  icon: IconName;
  label: string;
  kind?: 'main' | 'danger';
  /** Show no words, whatever the room. */
  bare?: boolean;
  disabled?: boolean;
  title?: string;
  onClick(): void;
}): JSX.Element {
  return (
    <button
      type="button"
      className="lb-Kit-button"
      data-kind={props.kind}
      data-bare={props.bare}
      disabled={props.disabled}
      title={props.title ?? props.label}
      aria-label={props.label}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
      <span className="lb-Kit-label">{props.label}</span>
    </button>
  );
}
