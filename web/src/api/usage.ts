/** `GET /api/usage`, `GET /api/budgets` and `GET /api/jobs/{id}/runs`: what was spent and saved, and what may be spent. */
import { at } from '../lib/prefix';
import { call, withQuery } from './client';
import type { BudgetListView, JobRunsView, UsageView } from './schema';

/** Range of days (UTC, both included) and the fields to group by. */
export interface UsageQuery {
  from: string;
  to: string;
  group_by: string;
}

export const getUsage = (query: UsageQuery, signal?: AbortSignal) => call<UsageView>('GET', '/api/usage', { query: { ...query }, signal });

/** The address of the same numbers as CSV. */
export const usageCsv = (query: UsageQuery): string => withQuery(at('/api/usage'), { ...query, format: 'csv' });

export const getBudgets = (signal?: AbortSignal) => call<BudgetListView>('GET', '/api/budgets', { signal });

export const getJobRuns = (jobId: string, signal?: AbortSignal) => call<JobRunsView>('GET', `/api/jobs/${jobId}/runs`, { signal });
