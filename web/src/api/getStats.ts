/** `GET /api/stats`: what the fleet has done and saved. */
import { call } from './client';
import type { StatsView } from './schema';

export const getStats = (signal?: AbortSignal) => call<StatsView>('GET', '/api/stats', { signal });
