/** `POST /api/session`: exchange a key for a session cookie. */
import { call } from './client';
import type { SessionView } from './schema';

export const signIn = (key: string) => call<SessionView>('POST', '/api/session', { body: { key } });
