import { arrow } from '../formats/arrow';
import { serve } from '../worker';

serve({ arrow });
