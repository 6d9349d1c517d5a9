import { csv } from '../formats/csv';
import { gguf } from '../formats/gguf';
import { image } from '../formats/image';
import { json } from '../formats/json';
import { netcdf } from '../formats/netcdf';
import { notebook } from '../formats/notebook';
import { safetensors } from '../formats/safetensors';
import { hex, text } from '../formats/text';
import { serve } from '../worker';

serve({ text, json, csv, image, notebook, safetensors, gguf, netcdf, bytes: hex });
