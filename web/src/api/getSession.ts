/** `GET /api/session`: who is signed in. */
import { call } from './client';
import type { SessionView } from './schema';

export const getSession = (signal?: AbortSignal) => call<SessionView>('GET', '/api/session', { signal });
