/** The newest progress of each running job. */
import type { ProgressEvent } from './connection';
import { latestOfJobs } from './latest';

/** `setProgress` stores a job's progress from the event stream, or removes it with null. */
export const { set: setProgress, use: useProgress } = latestOfJobs<ProgressEvent>();
