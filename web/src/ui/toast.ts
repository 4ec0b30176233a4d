/** Short messages at the edge of the page: what was done, and how to undo it. */
import { useSyncExternalStore } from 'react';

export interface Toast {
  id: number;
  text: string;
  tone: 'plain' | 'bad';
  action?: { label: string; run: () => void };
}

const SHOWN_MS = 7000;
/** Longer, because the user has something to decide. */
const SHOWN_WITH_ACTION_MS = 12_000;
let toasts: Toast[] = [];
const timers = new Map<number, ReturnType<typeof setTimeout>>();
let nextId = 1;
const listeners = new Set<() => void>();

function set(next: Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

export function dismiss(id: number): void {
  hold(id);
  set(toasts.filter((toast) => toast.id !== id));
}

/** Keeps a message open while the user points at it. */
export function hold(id: number): void {
  clearTimeout(timers.get(id));
  timers.delete(id);
}

/** Starts the timer that closes a message. */
export function release({ id, action }: Toast): void {
  hold(id);
  timers.set(id, setTimeout(() => dismiss(id), action ? SHOWN_WITH_ACTION_MS : SHOWN_MS));
}

export function toast(text: string, options: Partial<Pick<Toast, 'tone' | 'action'>> = {}): void {
  const fresh: Toast = { id: nextId++, text, tone: options.tone ?? 'plain', action: options.action };
  set([...toasts.slice(-2), fresh]);
  release(fresh);
}

/** Shows why something failed. */
export const toastError = (error: unknown): void =>
  toast(error instanceof Error ? error.message : 'Something went wrong. Try again.', { tone: 'bad' });

export const useToasts = (): Toast[] =>
  useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
