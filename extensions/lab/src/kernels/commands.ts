import { JupyterFrontEnd } from '@jupyterlab/application';

import { askingName, moveKernel } from './actions';
import { Desk } from './desk';
import { showDetails } from './details';
import { chipIcon } from './icons';
import { Watched } from './watched';

export const COMMANDS = {
  move: 'landbridge:choose-resources',
  details: 'landbridge:kernel-details'
} as const;

/** Add what can be done with the kernel of the document in front. */
export function addCommands(app: JupyterFrontEnd, desk: Desk): void {
  const current = (): Watched | null => desk.of(app.shell.currentWidget);
  const add = (
    id: string,
    options: { label: string; caption: string },
    isPossible: (watched: Watched) => boolean,
    run: (watched: Watched) => Promise<void>
  ): void => {
    const isThere = (): boolean => {
      const watched = current();
      return watched !== null && isPossible(watched);
    };
    app.commands.addCommand(id, {
      // A toolbar has room for a picture only.
      label: args => (args.toolbar ? '' : options.label),
      caption: options.caption,
      icon: args => (args.toolbar ? chipIcon : undefined),
      isVisible: isThere,
      isEnabled: isThere,
      execute: async () => {
        const watched = current();
        if (watched !== null) {
          await run(watched);
        }
      }
    });
  };
  add(
    COMMANDS.move,
    {
      label: 'Run This Notebook on Other Resources…',
      caption: 'Run this notebook on other resources'
    },
    watched => askingName(watched) !== '',
    moveKernel
  );
  add(
    COMMANDS.details,
    { label: 'Show the Kernel’s Job…', caption: "Show the kernel's job" },
    watched => watched.view !== null,
    showDetails
  );
  const refresh = (): void => {
    Object.values(COMMANDS).forEach(id => app.commands.notifyCommandChanged(id));
  };
  app.serviceManager.kernelspecs.specsChanged.connect(refresh);
  desk.changed.connect(refresh);
  app.shell.currentChanged?.connect(refresh);
}
