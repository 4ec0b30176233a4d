/** The newest preview of each running job. */
import type { PreviewEvent } from './connection';
import { latestOfJobs } from './latest';

/** `setPreview` stores a job's preview from the event stream, or removes it with null. */
export const { set: setPreview, use: usePreview } = latestOfJobs<PreviewEvent>();
