import { Dialog, showDialog } from '@jupyterlab/apputils';

/** End a job after its user has confirmed. */
export async function confirmEnd(title: string, loss: string): Promise<boolean> {
  const answer = await showDialog({
    title,
    body: loss,
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: 'End it' })]
  });
  return answer.button.accept;
}
