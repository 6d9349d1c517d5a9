import { LabIcon } from '@jupyterlab/ui-components';

/** Two machines in a rack, for my jobs. */
export const jobsIcon = new LabIcon({
  name: 'landbridge:jobs',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 24 24">
  <g class="jp-icon3 jp-icon-selectable" fill="#616161">
    <path d="M5 3h14a2 2 0 0 1 2 2v4a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2zm2 3v2h2V6zm5 0v2h6V6z"/>
    <path d="M5 13h14a2 2 0 0 1 2 2v4a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2v-4a2 2 0 0 1 2-2zm2 3v2h2v-2zm5 0v2h6v-2z"/>
  </g>
</svg>`
});
