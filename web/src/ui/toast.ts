/** Short messages at the page's edge: what was done, and how to undo it. */
import { useSyncExternalStore } from 'react';

export interface Toast {
  id: number;
  text: string;
  tone: 'plain' | 'bad';
  action?: { label: string; run: () => void };
}

const SHOWN_MS = 7000;
let toasts: Toast[] = [];
let nextId = 1;
const listeners = new Set<() => void>();

function set(next: Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

export function dismiss(id: number): void {
  set(toasts.filter((toast) => toast.id !== id));
}

export function toast(text: string, options: Partial<Pick<Toast, 'tone' | 'action'>> = {}): void {
  const id = nextId++;
  set([...toasts.slice(-2), { id, text, tone: options.tone ?? 'plain', action: options.action }]);
  setTimeout(() => dismiss(id), SHOWN_MS);
}

/** Tells why something failed. */
export const toastError = (error: unknown): void =>
  toast(error instanceof Error ? error.message : 'Something went wrong.', { tone: 'bad' });

export const useToasts = (): Toast[] =>
  useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
