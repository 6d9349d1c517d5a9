import { parquet } from '../formats/parquet';
import { serve } from '../worker';

serve({ parquet });
