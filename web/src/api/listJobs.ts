/** `GET /api/jobs`: one page of jobs, newest first. */
import { call } from './client';
import type { JobListView } from './schema';

/** Filters and paging. */
export interface JobQuery {
  status?: string;
  tier?: string;
  q?: string;
  cursor?: string | null;
  limit?: number;
}

export const listJobs = (query: JobQuery, signal?: AbortSignal) =>
  call<JobListView>('GET', '/api/jobs', { query: { ...query }, signal });
