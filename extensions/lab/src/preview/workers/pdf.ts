import { pdf } from '../formats/pdf';
import { serve } from '../worker';

serve({ pdf });
