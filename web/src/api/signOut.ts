/** `DELETE /api/session`: end the session and clear its cookie. */
import { call } from './client';

export const signOut = () => call<void>('DELETE', '/api/session');
