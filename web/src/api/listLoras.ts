/** `GET /api/loras`: the adapters that the caller may use. */
import { call } from './client';
import type { LoraListView } from './schema';

export const listLoras = (model: string, signal?: AbortSignal) => call<LoraListView>('GET', '/api/loras', { query: { model }, signal });
