import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

import { JobsPanel } from './panel';
import { TimeLeft } from './timeleft';

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

const jobs: JupyterFrontEndPlugin<void> = {
  id: '@landbridge/lab:jobs',
  description: 'Lists my jobs in the sidebar.',
  autoStart: true,
  optional: [ILayoutRestorer],
  activate: (app, restorer: ILayoutRestorer | null) => {
    const panel = new JobsPanel();
    app.shell.add(panel, 'left', { rank: 300, type: 'My jobs' });
    restorer?.add(panel, panel.id);
  }
};

export default [timeLeft, jobs];
