/** `GET /api/models`: the available models and their limits. */
import { call } from './client';
import type { ModelListView } from './schema';

export const getModels = (signal?: AbortSignal) => call<ModelListView>('GET', '/api/models', { signal });
