/** `GET /api/models`: what can be asked for. */
import { call } from './client';
import type { ModelListView } from './schema';

export const getModels = (signal?: AbortSignal) => call<ModelListView>('GET', '/api/models', { signal });
