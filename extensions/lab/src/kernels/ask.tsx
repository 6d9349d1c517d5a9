import { Dialog, showErrorMessage } from '@jupyterlab/apputils';
import { ReactWidget } from '@jupyterlab/ui-components';
import { UUID } from '@lumino/coreutils';

import { Refused, words } from '../gateway/refused';
import { firstChoice } from '../kit/resources/choice';
import { Draft, draftOf } from '../kit/resources/draft';
import { ResourceForm } from '../kit/resources/form';
import { Check, Choice, Options } from '../kit/resources/types';

import * as api from './api';

/** A choice that the server keeps under the id of the kernel to start. */
export interface Chosen {
  kernelId: string;
  choice: Choice;
  summary: string;
}

class ChooseBody extends ReactWidget implements Dialog.IBodyWidget<Choice | null> {
  constructor(
    private readonly check: Check,
    private readonly offer: Options,
    public draft: Draft
  ) {
    super();
    this.addClass('lb-Choose-body');
  }

  getValue(): Choice | null {
    return this._choice;
  }

  protected render(): JSX.Element {
    return (
      <ResourceForm
        check={this.check}
        offer={this.offer}
        first={this.draft}
        onChange={(choice, draft) => this.changed(choice, draft)}
      />
    );
  }

  private changed(choice: Choice | null, draft: Draft): void {
    this._choice = choice;
    this.draft = draft;
    const button = this.node.closest('.jp-Dialog')?.querySelector('button.jp-mod-accept');
    if (button instanceof HTMLButtonElement) {
      button.disabled = choice === null;
    }
  }

  private _choice: Choice | null = null;
}

/**
 * Ask for a kernel's resources.
 *
 * @param title - of the dialog.
 * @param go - on the button that starts.
 * @param remembered - what was chosen last for this document; untrusted.
 * @returns null if nothing was chosen.
 */
export async function chooseResources(title: string, go: string, remembered: unknown): Promise<Chosen | null> {
  const kernelId = UUID.uuid4();
  let offer: Options;
  try {
    offer = await api.options();
  } catch (error) {
    await showErrorMessage('Resources cannot be chosen now', words(error));
    return null;
  }
  // What is checked is kept under the id that the kernel will have.
  const check: Check = choice => api.choose(kernelId, choice);
  let draft = draftOf(firstChoice(remembered, offer));
  for (;;) {
    const body = new ChooseBody(check, offer, draft);
    const dialog = new Dialog<Choice | null>({
      title,
      body,
      buttons: [Dialog.cancelButton(), Dialog.okButton({ label: go })],
      focusNodeSelector: 'input:checked, input'
    });
    dialog.addClass('lb-Choose-dialog');
    const { button, value } = await dialog.launch();
    if (!button.accept) {
      return null;
    }
    draft = body.draft;
    if (value !== null) {
      try {
        return { kernelId, choice: value, summary: await check(value) };
      } catch (error) {
        // Shown beside its field by the next round; what has none is told here.
        if (!(error instanceof Refused && error.field)) {
          await showErrorMessage('The choice was not taken', words(error));
        }
      }
    }
  }
}
