import { LabIcon } from '@jupyterlab/ui-components';

/** A processor, for everything about a kernel's resources. */
export const chipIcon = new LabIcon({
  name: 'landbridge:chip',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M7 5h10a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H7a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2zm0 2v10h10V7z"/>
    <path d="M10 10h4v4h-4zM8 2h2v3H8zM14 2h2v3h-2zM8 19h2v3H8zM14 19h2v3h-2zM2 8h3v2H2zM2 14h3v2H2zM19 8h3v2h-3zM19 14h3v2h-3z"/>
  </g>
</svg>`
});

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

/** A bucket, for storage. */
export const storageIcon = new LabIcon({
  name: 'landbridge:storage',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 24 24">
  <g class="jp-icon3 jp-icon-selectable" fill="#616161">
    <path d="M12 2c5 0 9 1.700 9 4s-4 4-9 4-9-1.700-9-4 4-4 9-4zm0 2c-3.900 0-6.500 1-7 2 .5 1 3.100 2 7 2s6.500-1 7-2c-.5-1-3.100-2-7-2z"/>
    <path d="M3.200 8.600C5 10.200 8.300 11 12 11s7-.8 8.800-2.400L19.300 19c-.3 1.900-3.600 3-7.300 3s-7-1.100-7.300-3z"/>
  </g>
</svg>`
});
