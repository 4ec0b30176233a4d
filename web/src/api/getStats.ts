/** `GET /api/stats`: totals, averages and savings. */
import { call } from './client';
import type { StatsView } from './schema';

export const getStats = (signal?: AbortSignal) => call<StatsView>('GET', '/api/stats', { signal });
