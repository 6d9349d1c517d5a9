import { zarrFormat } from '../formats/zarr';
import { serve } from '../worker';

serve({ zarr: zarrFormat });
