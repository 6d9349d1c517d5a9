import jobs from './jobs/plugin';
import kernels from './kernels/plugin';
import storage from './storage/plugin';

// Each feature registers what it makes; here they are only listed.
export default [...jobs, ...kernels, ...storage];
