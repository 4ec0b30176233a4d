/** `DELETE /api/session`: end the session here and in the browser. */
import { call } from './client';

export const signOut = () => call<void>('DELETE', '/api/session');
