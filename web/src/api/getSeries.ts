/** `GET /api/stats/series`: the numbers over time. */
import { call } from './client';
import type { SeriesView } from './schema';

/** How far back and how fine. */
export interface SeriesQuery {
  hours: number;
  bucket: 'hour' | 'day';
}

export const getSeries = (query: SeriesQuery, signal?: AbortSignal) =>
  call<SeriesView>('GET', '/api/stats/series', { query: { ...query }, signal });
