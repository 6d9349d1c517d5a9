import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

import { TimeLeft } from './timeleft';

/** Registers what the other modules make, and nothing else. */
const timeLeft: JupyterFrontEndPlugin<void> = {
  id: '@landbridge/lab:time-left',
  description: "Shows the time left of the server's job in the top bar.",
  autoStart: true,
  activate: (app: JupyterFrontEnd) => {
    const widget = new TimeLeft(app.restored);
    widget.id = 'landbridge-time-left';
    app.shell.add(widget, 'top', { rank: 1000 });
  }
};

export default [timeLeft];
