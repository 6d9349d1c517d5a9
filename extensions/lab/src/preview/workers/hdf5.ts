import './quiet';

import { hdf5 } from '../formats/hdf5';
import { serve } from '../worker';

serve({ hdf5 });
