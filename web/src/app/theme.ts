/** Light or dark: follows the system until the user chooses. */
import { useSyncExternalStore } from 'react';
import { read, write } from '../lib/stored';

export type Theme = 'light' | 'dark';

const KEY = 'fleet.theme';
const system = () => window.matchMedia('(prefers-color-scheme: dark)');
const listeners = new Set<() => void>();

function chosen(): Theme | null {
  const stored = read(KEY);
  return stored === 'light' || stored === 'dark' ? stored : null;
}

const current = (): Theme => chosen() ?? (system().matches ? 'dark' : 'light');

function apply(): void {
  document.documentElement.dataset.theme = current();
  for (const listener of listeners) listener();
}

/** Called once, before the first render. */
export function initTheme(): void {
  apply();
  system().addEventListener('change', apply);
}

export function setTheme(theme: Theme): void {
  write(KEY, theme);
  apply();
}

export const useTheme = (): Theme =>
  useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, current);
