/** `GET /api/settings`: the settings and limits that the form needs. */
import { call } from './client';
import type { SettingsView } from './schema';

export const getSettings = (signal?: AbortSignal) => call<SettingsView>('GET', '/api/settings', { signal });
