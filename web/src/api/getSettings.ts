/** `GET /api/settings`: what the form must know of this fleet. */
import { call } from './client';
import type { SettingsView } from './schema';

export const getSettings = (signal?: AbortSignal) => call<SettingsView>('GET', '/api/settings', { signal });
