/** `DELETE /api/jobs/{id}`: hide a job and its video. */
import { call } from './client';

export const deleteJob = (jobId: string) => call<void>('DELETE', `/api/jobs/${jobId}`);
