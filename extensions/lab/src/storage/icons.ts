import { LabIcon } from '@jupyterlab/ui-components';

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
