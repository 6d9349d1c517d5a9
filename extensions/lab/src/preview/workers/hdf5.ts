import { hdf5 } from '../formats/hdf5';
import { serve } from '../worker';

import './quiet';

serve({ hdf5 });
