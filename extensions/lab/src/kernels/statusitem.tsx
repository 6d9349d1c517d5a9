import { ReactWidget } from '@jupyterlab/ui-components';

import { useTick } from '../kit/tick';

import { showDetails } from './details';
import { statusWords } from './tell';
import { Watched } from './watched';

function Item(props: { watched: Watched | null }): JSX.Element {
  useTick();
  const { watched } = props;
  const words = watched ? statusWords(watched.view, watched.left) : '';
  return (
    <button
      className="lb-Status"
      hidden={!words}
      title="The kernel's job: details"
      onClick={() => watched && void showDetails(watched)}
    >
      {words}
    </button>
  );
}

/** The kernel's job of the document in front, in the status bar. */
export class StatusItem extends ReactWidget {
  /** Show another document's, or none. */
  show_(watched: Watched | null): void {
    this._watched?.changed.disconnect(this.update, this);
    this._watched = watched;
    watched?.changed.connect(this.update, this);
    this.update();
  }

  protected render(): JSX.Element {
    return <Item watched={this._watched} />;
  }

  private _watched: Watched | null = null;
}
